/**
 * A mount on a mount point whose mount before has been taken away, while the process of that one is still
 * ending or does not know yet.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { findMount } from '../../lib/host/mount-table.js';
import { environment, hasEnded, installHelper, Place, run, s3jail } from '../support/command.js';
import { useMachine } from '../support/machine.js';
import { useMountNamespace } from '../support/mount-namespace.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

const command = promisify(execFile);

/** By another hand than the program's; `-c`: without a look at the mount, whose process may stand still. */
async function umount(place: Place): Promise<void> {
  await command('umount', ['-i', '-c', place.mountPoint]);
}

function logOf(place: Place): Promise<string> {
  return readFile(place.log, 'utf8').catch(() => '');
}

void t.test('a mount waits for the process of the one before, which is still ending', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  t.teardown(() => hasEnded(pid) || process.kill(pid, 'SIGKILL'));
  await umount(place);
  let hasReturned = false;
  const mounting = place.mount(t).finally(() => (hasReturned = true));
  let log = '';
  await until(() => {
    void logOf(place).then((text) => (log = text));
    return hasReturned || log.includes(`waiting for process ${pid}`);
  });
  t.notOk(hasReturned, 'it waits');
  process.kill(pid, 'SIGCONT');
  await mounting;
  t.ok(hasEnded(pid), 'the one before has ended');
  t.not(place.pid, pid);
  t.ok(findMount(place.mountPoint), 'the new one is there');
  await writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test('where the one before is to be seen elsewhere yet, it is ended', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  await useMountNamespace(t, place.mountPoint);
  await umount(place);
  t.notOk(hasEnded(pid), 'its process has not noticed');
  await place.mount(t);
  t.ok(hasEnded(pid));
  await writeFile(place.path('a'), 'x');
  t.same(place.endpoint.keys('bucket'), ['alice/a']);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  place.checkGone(t);
});

void t.test('mount -a right after umount mounts all of them, again and again', async (t) => {
  await useMachine(t);
  const place = await Place.make(t);
  await installHelper(t);
  const points = Array.from({ length: 4 }, (_each, index) => join(place.base, `mnt${index}`));
  for (const point of points) await mkdir(point);
  const options = `endpoint-url=${place.endpoint.url},temp-dir=${join(place.base, 'temp')},log-file=${place.log},access=any`;
  const lines = points.map((point, index) => `bucket/${index} ${point} s3jail ${options} 0 0\n`);
  const table = join(place.base, 'fstab');
  await writeFile(table, lines.join(''));
  const unmountAll = () => Promise.all(points.map((point) => command('umount', [point])));
  t.teardown(unmountAll);
  const mountAll = () =>
    command('mount', ['-a', '-t', 's3jail', '-T', table], { env: environment({}) });
  await mountAll();
  for (let round = 0; round < 2; round++) {
    await unmountAll();
    t.match(await mountAll(), { stdout: '', stderr: '' });
    for (const point of points) await writeFile(join(point, `round${round}`), 'x');
  }
  t.equal(place.endpoint.keys('bucket').length, 2 * points.length, 'each of them stores');
});
