/** Locks that say whether a process lives, and machines that cannot lock. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { lockOfGone, takeLifeLock } from '../../lib/host/life-lock.js';
import { temporaryDirectory } from '../support/embedded.js';

const library = new URL('../../lib/host/life-lock.js', import.meta.url).href;

/** A process that takes the lock and ends. */
function takeElsewhere(path: string, env: NodeJS.ProcessEnv = process.env): string {
  const script = `import('${library}').then(({ takeLifeLock }) => {
    const lock = takeLifeLock(process.argv[1]);
    console.log(lock === undefined || lock === 'taken' ? lock : 'locked');
  })`;
  const options = { env, encoding: 'utf8' } as const;
  return spawnSync(process.execPath, ['-e', script, path], options).stdout.trim();
}

void t.test('a lock is its process’s for as long as that lives', async (t) => {
  const path = join(await temporaryDirectory(t), 'lock');
  t.equal(lockOfGone(path), undefined, 'nothing says that anybody is gone');
  const lock = takeLifeLock(path);
  if (lock === undefined || lock === 'taken') throw new Error('it cannot be locked');
  writeFileSync(lock.file, 'mine');
  t.equal(takeElsewhere(path), 'taken');
  t.equal(lockOfGone(path), undefined);
  lock.close();
  t.equal(takeElsewhere(path), 'locked');
  const gone = lockOfGone(path);
  t.equal(gone && readFileSync(gone.file, 'utf8'), 'mine');
  t.equal(takeLifeLock(path), 'taken', 'nobody else takes it over');
  gone?.close();
});

void t.test('a machine that cannot lock leaves nothing to judge by', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'lock');
  writeFileSync(join(directory, 'flock'), '#!/bin/sh\necho no locks available >&2; exit 1\n', {
    mode: 0o755,
  });
  const PATH = `${directory}:${process.env['PATH'] ?? ''}`;
  t.equal(takeElsewhere(path, { ...process.env, PATH }), 'undefined');
  t.notOk(existsSync(path));
});
