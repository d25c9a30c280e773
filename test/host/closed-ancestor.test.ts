/** What counts as a directory that only root can pass, and when it is looked at. */
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { ClosedAncestor, findClosedAncestor } from '../../lib/host/closed-ancestor.js';
import { silentLog } from '../../lib/log.js';
import { ManualClock } from '../support/manual-clock.js';

const run = promisify(execFile);

/** A directory that anybody may enter, in which nothing is closed above. */
async function makeBase(t: Test): Promise<string> {
  const base = await mkdtemp('/var/tmp/s3jail-closed-');
  t.teardown(() => rm(base, { recursive: true, force: true }));
  await chmod(base, 0o755);
  return base;
}

void t.test('only a directory that none but root can pass counts', async (t) => {
  const base = await makeBase(t);
  const outer = join(base, 'sftp');
  const mountPoint = join(outer, 'alice');
  await mkdir(mountPoint, { recursive: true });
  for (const [mode, closed] of [
    [0o755, false],
    [0o711, false],
    [0o701, false],
    [0o710, false],
    [0o750, false],
    [0o700, true],
    [0o744, true],
    [0o600, true],
  ] as const) {
    await chmod(outer, mode);
    t.equal(await findClosedAncestor(mountPoint), closed ? outer : undefined, mode.toString(8));
  }
  await chown(outer, 12345, 0);
  t.equal(await findClosedAncestor(mountPoint), undefined, "another's may pass there");
  await chown(outer, 0, 0);
  await chmod(outer, 0o755);
  await chmod(mountPoint, 0o700);
  t.equal(await findClosedAncestor(mountPoint), undefined, 'the mount point itself is covered');
  t.equal(await findClosedAncestor(join(base, 'gone', 'x')), undefined);
});

interface Watched {
  readonly closed: ClosedAncestor;
  readonly clock: ManualClock;
  readonly outer: string;
  readonly mountPoint: string;
  readonly opened: () => number;
}

async function watch(t: Test): Promise<Watched> {
  const outer = join(await makeBase(t), 'sftp');
  const mountPoint = join(outer, 'alice');
  await mkdir(mountPoint, { recursive: true });
  await chmod(outer, 0o700);
  const clock = new ManualClock();
  const closed = new ClosedAncestor(mountPoint, silentLog, clock);
  let opened = 0;
  closed.onOpened(() => opened++);
  await closed.look();
  return { closed, clock, outer, mountPoint, opened: () => opened };
}

/** Lets the time pass after which the next question looks again, asks, and has the look end. */
async function lookLater({ closed, clock }: Watched): Promise<void> {
  clock.pass(5001);
  t.type(closed.isThere, 'boolean');
  await closed.look();
}

void t.test('an opened directory is noticed, once, and a closed one again', async (t) => {
  const watched = await watch(t);
  const { closed, outer, opened } = watched;
  t.equal(closed.isThere, true);
  await chmod(outer, 0o755);
  t.equal(closed.isThere, true, 'what was seen a moment ago counts');
  await lookLater(watched);
  t.equal(closed.isThere, false);
  t.equal(opened(), 1);
  await lookLater(watched);
  t.equal(opened(), 1);
  await chmod(outer, 0o700);
  await lookLater(watched);
  t.equal(closed.path, outer);
  await rename(outer, `${outer}-moved`);
  await lookLater(watched);
  t.equal(closed.path, undefined, 'moved away');
  t.equal(opened(), 2);
});

void t.test('what is to be seen elsewhere too has to be closed there', async (t) => {
  const watched = await watch(t);
  const { closed, mountPoint } = watched;
  const open = await makeBase(t);
  await run('mount', ['-t', 'tmpfs', 's3jail-test', mountPoint]);
  t.teardown(() => run('umount', [mountPoint]));
  await closed.look();
  t.equal(closed.isThere, true);
  await run('mount', ['--bind', mountPoint, open]);
  const unbind = () => run('umount', [open]);
  try {
    await lookLater(watched);
    t.equal(closed.isThere, false, 'a bind mount in the open');
    t.equal(watched.opened(), 1);
  } finally {
    await unbind();
  }
  await lookLater(watched);
  t.equal(closed.isThere, true);
});
