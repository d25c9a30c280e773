/**
 * The end of a mount that is still to be seen elsewhere: a bind mount shows it, or a mount namespace that
 * was made while it was there, as a container's is. No umount(8) of the mount point reaches those.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { makeAccount } from '../../lib/demo/account.js';
import type { MountStatus } from '../../lib/status/ask.js';
import { endingOf, hasEnded, Place, run, s3jail, start, Writer } from '../support/command.js';
import { useMountNamespace } from '../support/mount-namespace.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

const command = promisify(execFile);

/** A bind mount of the place's mount. */
async function bind(t: Test, place: Place): Promise<string> {
  const view = join(place.base, 'view');
  await mkdir(view, { recursive: true });
  await command('mount', ['--bind', place.mountPoint, view]);
  t.teardown(() => command('umount', ['-l', view]).catch(() => undefined));
  return view;
}

for (const where of ['a bind mount', 'a namespace'] as const) {
  void t.test(`unmount ends it, and says where it was to be seen: ${where}`, async (t) => {
    const place = await Place.make(t);
    await place.mount(t);
    const pid = place.pid ?? 0;
    const view = where === 'a bind mount' ? await bind(t, place) : undefined;
    const other =
      where === 'a namespace' ? await useMountNamespace(t, place.mountPoint) : undefined;
    const seen = view ?? `${place.mountPoint} in the mount namespace of process ${other?.pid ?? 0}`;
    const writer = await Writer.start(t, place.path('open'), 'half a file');
    const { status, stderr } = await run(s3jail, ['unmount', place.mountPoint]);
    t.equal(status, 0);
    t.ok(stderr.includes(`still to be seen at ${seen}`), stderr);
    t.ok(hasEnded(pid), 'the process has ended');
    place.checkGone(t);
    t.same(place.endpoint.keys('bucket'), ['alice/open'], 'what was open is stored');
    await writer.close();
    if (view !== undefined) await t.rejects(stat(view), { code: 'ENOTCONN' });
    const log = await readFile(place.log, 'utf8');
    t.ok(log.includes(`still to be seen at ${seen}`));
    t.match(log, /everything is stored/);
    await place.mount(t);
    await writeFile(place.path('anew'), 'x');
    t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0, 'a new mount there');
  });
}

void t.test('its process ends by SIGTERM and with exit code 0, too', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const pid = place.pid ?? 0;
  await useMountNamespace(t, place.mountPoint);
  const view = await bind(t, place);
  // By another hand, which does not end it: it lives on in the view.
  await command('umount', [place.mountPoint]);
  t.equal((await readFile(join(view, '..', 'mount.log'), 'utf8')).includes('ending'), false);
  await writeFile(join(view, 'a'), 'x');
  t.notOk(hasEnded(pid));
  process.kill(pid, 'SIGTERM');
  await until(() => hasEnded(pid));
  t.match(await readFile(place.log, 'utf8'), /everything is stored/);
  place.checkGone(t);
});

void t.test('its process ends with exit code 0 by itself', async (t) => {
  const account = await makeAccount('s3jail-test');
  t.teardown(() => account.remove());
  t.teardown(() => rm(`/run/s3jail-${account.uid}`, { recursive: true, force: true }));
  for (const more of [[], ['--run-as', account.name]]) {
    const place = await Place.make(t);
    await command('chmod', ['755', place.base]);
    await mkdir(join(place.base, 'temp'));
    await command('chmod', ['1777', join(place.base, 'temp')]);
    const args = ['mount', '-f', 's3://bucket/alice/', place.mountPoint, ...place.options, ...more];
    const mount = start(s3jail, args);
    const ended = endingOf(mount);
    await until(() => place.phase === 'mounted');
    const other = await useMountNamespace(t, place.mountPoint);
    mount.kill('SIGTERM');
    const { status, stderr } = await ended;
    t.equal(status, 0, more.join(' '));
    t.match(stderr, /everything is stored/);
    t.notOk(hasEnded(other.pid ?? 0), 'the namespace is still there');
    place.checkGone(t);
  }
});

void t.test('what S3 does not take by --drain-timeout or the second signal is told', async (t) => {
  for (const how of ['--drain-timeout', 'second signal']) {
    const place = await Place.make(t);
    const limit = how === '--drain-timeout' ? '1s' : '1h';
    await place.mount(t, '--drain-timeout', limit, '--timeout', '1h');
    await useMountNamespace(t, place.mountPoint);
    await bind(t, place);
    const pid = place.pid ?? 0;
    const writer = await Writer.start(t, place.path('lost'), 'data');
    await place.endpoint.close();
    process.kill(pid, 'SIGTERM');
    if (how === 'second signal') {
      await until(() => place.phase === 'draining');
      process.kill(pid, 'SIGTERM');
    }
    await until(() => hasEnded(pid));
    t.match(await run(s3jail, ['unmount', place.mountPoint]), {
      status: 2,
      stderr: /not stored: \/lost/,
    });
    await writer.kill();
  }
});

void t.test('--run-as: the process needs no rights for it', async (t) => {
  const account = await makeAccount('s3jail-test');
  t.teardown(() => account.remove());
  const place = await Place.make(t);
  await mkdir(join(place.base, 'temp'));
  await command('chmod', ['755', place.base]);
  await command('chmod', ['1777', join(place.base, 'temp')]);
  t.teardown(() => rm(`/run/s3jail-${account.uid}`, { recursive: true, force: true }));
  await place.mount(t, '--run-as', account.name);
  const pid = place.pid ?? 0;
  await useMountNamespace(t, place.mountPoint);
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.ok(hasEnded(pid));
  t.match(await readFile(place.log, 'utf8'), /still to be seen where this process may not look/);
  place.checkGone(t);
});

void t.test('status calls a view that lives no dead mount', async (t) => {
  const place = await Place.make(t);
  await place.mount(t);
  const view = await bind(t, place);
  const ask = async (...args: string[]) => {
    const { status, stdout } = await run(s3jail, ['status', '--json', ...args]);
    return { status, found: JSON.parse(stdout) as MountStatus[] };
  };
  const { status, found } = await ask(view);
  t.equal(status, 0);
  const hint = `it is the same as ${place.mountPoint}`;
  t.match(found, [{ mountPoint: view, state: 'view', hint }]);
  const all = (await ask()).found.filter((each) => each.mountPoint.startsWith(place.base));
  t.same(new Set(all.map(({ state }) => state)), new Set(['mounted', 'view']));
  const pid = place.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => hasEnded(pid));
  t.match((await ask(view)).found, [{ mountPoint: view, state: 'dead' }]);
  await run(s3jail, ['unmount', place.mountPoint]);
});
