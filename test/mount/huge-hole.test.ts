/**
 * A hole that is larger than anybody waits for its zeros to be sent: whoever waits for it comes to an end,
 * by rm, by a signal, by the end of the mount.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { hasEnded, Place, run, s3jail } from '../support/command.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

const command = promisify(execFile);

/** truncate(1), in its close(2): zeros are on their way. */
async function startHole(t: Test, place: Place, name: string): Promise<ChildProcess> {
  const child = spawn('truncate', ['--size', '200G', place.path(name)], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  await until(() => place.endpoint.openUploads().length > 0);
  return child;
}

void t.test('rm of a huge hole ends its storing, and close(2) is told as on a disk', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const hole = await startHole(t, place, 'hole');
  const ended = once(hole, 'exit');
  await command('rm', [place.path('hole')]);
  t.same(await ended, [0, null]);
  t.same(place.endpoint.keys('bucket'), []);
  t.same(place.endpoint.openUploads(), []);
  t.match(await run(s3jail, ['unmount', place.mountPoint]), { status: 0 });
  place.checkGone(t);
});

void t.test('a signal ends it too', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const hole = await startHole(t, place, 'hole');
  const ended = once(hole, 'exit');
  hole.kill('SIGTERM');
  t.same(await ended, [null, 'SIGTERM']);
  await until(() => place.endpoint.openUploads().length === 0);
  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.match(unmounted, { status: 0, stderr: '' });
  place.checkGone(t);
});

void t.test('unmount waits for it until --drain-timeout, and names it', async (t) => {
  const place = await Place.make(t);
  await place.mount(t, '--drain-timeout', '1s');
  const pid = place.pid ?? 0;
  await startHole(t, place, 'hole');
  const unmounted = await run(s3jail, ['unmount', place.mountPoint]);
  t.match(unmounted, { status: 2, stderr: /^s3jail: not stored: \/hole$/m });
  t.ok(hasEnded(pid));
  t.same(place.endpoint.keys('bucket'), []);
  place.checkGone(t);
});
