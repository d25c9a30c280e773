/**
 * The unit for systemd, and what a mount tells systemd: judged by systemd's own programs, and heard on
 * a real datagram socket, as PID 1 need not be systemd here.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Child, runCommand, sendSignal } from '../../lib/demo/child.js';
import { startMount, type MountProcess } from '../../lib/demo/mount-process.js';
import { silentLog } from '../../lib/log.js';
import { findMount } from '../../lib/host/mount-table.js';
import { ServiceManager } from '../../lib/mount/service-manager.js';
import { unitText } from '../../lib/setup/unit.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { useServer, type TestServer } from '../support/servers.js';
import { until } from '../support/until.js';

const shipped = fileURLToPath(new URL('../../../lib/systemd/s3jail@.service', import.meta.url));
/** Figure of `systemd-analyze security`, times ten, that the unit must stay below. */
const exposureLimit = 50;

void t.test('systemd finds nothing to complain about in the unit', async (t) => {
  const directory = await mkdtemp('/var/lib/s3jail-unit-');
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 's3jail@.service');
  const retry = join(directory, 's3jail-retry@.service');
  await writeFile(path, await unitText());
  await writeFile(retry, await unitText('s3jail-retry@.service'));
  const metrics = join(directory, 's3jail-metrics.service');
  await writeFile(metrics, await unitText('s3jail-metrics.service'));
  // The manual page is there only once the package is installed.
  const verified = await runCommand('systemd-analyze', [
    'verify',
    '--man=no',
    path,
    retry,
    metrics,
  ]);
  t.match(verified, { status: 0, stdout: '', stderr: '' });
  const limit = ['--offline=true', `--threshold=${exposureLimit}`, '--no-pager'];
  for (const unit of [path, metrics]) {
    const judged = await runCommand('systemd-analyze', ['security', ...limit, unit]);
    t.equal(judged.status, 0, judged.stdout.trim().split('\n').at(-1) ?? '');
  }
});

// Any of these would give the unit mounts of its own: sshd would not see what is mounted in them, and what is
// mounted outside would be held by them.
const ownMounts = /^(Protect(System|Home|Kernel\w+|ControlGroups|Proc)|Private\w+|\w+Paths)=/m;

void t.test(
  'the unit as shipped differs from the installed one in the program alone',
  async (t) => {
    const text = await readFile(shipped, 'utf8');
    const installed = await unitText();
    const lines = text.split('\n');
    const changed = installed.split('\n').filter((line, index) => line !== lines[index]);
    t.equal(changed.length, 2);
    for (const line of changed) t.match(line, /^Exec(Start|StopPost)=-?\/\S+ \/\S+\/s3jail\.cjs /);
    t.notMatch(text, ownMounts);
    t.notMatch(await unitText('s3jail-metrics.service'), ownMounts);
  },
);

/** What arrives at $NOTIFY_SOCKET. */
class Listener {
  readonly socket: string;
  readonly #child: Child;

  private constructor(socket: string, child: Child) {
    this.socket = socket;
    this.#child = child;
  }

  static async start(t: Test, place: string): Promise<Listener> {
    const socket = join(place, 'notify');
    const read = ['sh', '-c', 'exec cat <&3 >&2'];
    const args = ['--datagram', `--listen=${socket}`, ...read];
    const child = await Child.start('systemd-socket-activate', args);
    t.teardown(() => child.stop());
    await child.untilSaid(/^Listening on /m);
    // As systemd's own: a mount may have given up root.
    await chmod(socket, 0o777);
    return new Listener(socket, child);
  }

  /** all assignments so far, a line each */
  get said(): string {
    // Datagrams have no line break at their end, but systemd-notify sends this one after each.
    return this.#child.stderr.replaceAll('BARRIER=1', '\n');
  }

  /** Waits for what has to come; the test's own time limit ends a wait for what does not. */
  async until(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.said));
  }
}

interface Served {
  readonly listener: Listener;
  readonly mount: MountProcess;
  readonly mountPoint: string;
  readonly server: TestServer;
}

/** A mount that was started as systemd starts it, with a watchdog of two seconds. */
async function serve(t: Test, ...options: string[]): Promise<Served> {
  return serveIn(t, 'mnt', ...options);
}

/** @param where of the mount point, below a directory of the test's own */
async function serveIn(t: Test, where: string, ...options: string[]): Promise<Served> {
  const place = await makePlace(t);
  const server = await useServer(t, 'embedded');
  const listener = await Listener.start(t, place);
  const temp = await makeDirectory(place, 'temp');
  await chmod(temp, 0o1777);
  const mountPoint = await makeDirectory(place, where);
  if (dirname(where) !== '.') await chmod(dirname(mountPoint), 0o700);
  process.env['NOTIFY_SOCKET'] = listener.socket;
  process.env['WATCHDOG_USEC'] = '2000000';
  t.teardown(() => {
    delete process.env['NOTIFY_SOCKET'];
    delete process.env['WATCHDOG_USEC'];
  });
  const mount = await startMount({
    source: `s3://${server.bucket.name}/alice/`,
    mountPoint,
    endpointUrl: server.url,
    credentials: server.credentials,
    options: ['--driver', 'kernel', '--temp-dir', temp, ...options],
    output: 'keep',
  });
  t.teardown(() => mount.stop());
  return { listener, mount, mountPoint, server };
}

void t.test('READY, a fed watchdog, STOPPING and what is being stored are told', async (t) => {
  const { listener, mount, mountPoint } = await serve(t, '--drain-timeout', '7s');
  await listener.until(/^READY=1\nSTATUS=s3:\/\/\S+\/alice\/ on \/\S+$/m);
  await listener.until(/^WATCHDOG=1$/m);
  const script = `require('fs').writeSync(require('fs').openSync('${mountPoint}/open', 'w'), 'x');
    console.error('written'); setInterval(() => 0, 1000)`;
  const writer = await Child.start(process.execPath, ['-e', script]);
  t.teardown(() => writer.stop({ signal: 'SIGKILL' }));
  await writer.untilSaid(/written/);
  const { status } = await mount.child.stop();
  t.equal(status, 0);
  // 7 s, and half a minute for the rest.
  await listener.until(/^STOPPING=1\nEXTEND_TIMEOUT_USEC=37000000$/m);
  await listener.until(/^STATUS=storing 1 file/m);
});

void t.test('umount(8) by hand is told as the end, and nothing is fed after it', async (t) => {
  const { listener, mount, mountPoint } = await serve(t);
  await listener.until(/^WATCHDOG=1$/m);
  await promisify(execFile)('umount', ['-i', mountPoint]);
  t.equal((await mount.child.ended).status, 0);
  await listener.until(/^STOPPING=1$/m);
  t.notMatch(listener.said.split('STOPPING=1')[1] ?? '', /WATCHDOG|READY/);
});

void t.test('while a probe is not answered nothing is fed, and no second one made', async (t) => {
  const listener = await Listener.start(t, await makePlace(t));
  const errors: string[] = [];
  const log = { ...silentLog, error: (_: unknown, message: string) => void errors.push(message) };
  const environment = { ...process.env, NOTIFY_SOCKET: listener.socket, WATCHDOG_USEC: '100000' };
  const service = new ServiceManager(environment, log);
  let probes = 0;
  let giveUp: (error: Error) => void = () => undefined;
  const asked = new Promise<void>((tell) => {
    const probe = () => {
      probes++;
      if (probes === 2) tell();
      return probes === 1 ? Promise.resolve() : new Promise<void>((_, fail) => (giveUp = fail));
    };
    void service.ready('test', probe);
  });
  // The service's own timer keeps no process alive.
  const awake = setInterval(() => undefined, 1000);
  await asked;
  await sleep(300);
  t.equal(probes, 2, 'the one that hangs is not followed by others');
  t.notMatch(listener.said, /WATCHDOG/);
  giveUp(new Error('no answer'));
  await until(() => errors.length > 0);
  clearInterval(awake);
  t.strictSame(errors, ['the mount does not answer: no answer']);
  await service.close();
});

void t.test('--private is probed as its user, whom alone the kernel lets in', async (t) => {
  const { listener } = await serve(t, '--private', '--uid', 'daemon');
  await listener.until(/^READY=1$/m);
  await listener.until(/^WATCHDOG=1$/m);
});

void t.test('below a directory that only root may enter the probe still gets there', async (t) => {
  for (const options of [
    ['--private', '--uid', 'daemon'],
    ['--run-as', 'daemon'],
    ['--run-as', 'daemon', '--private', '--uid', 'daemon', '--gid', 'daemon'],
  ]) {
    await t.test(options.join(' '), async (t) => {
      const { listener, mount, mountPoint } = await serveIn(t, 'closed/mnt', ...options);
      await listener.until(/^READY=1$/m);
      await listener.until(/^WATCHDOG=1$/m);
      const cli = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));
      const unmounted = await runCommand(process.execPath, [cli, 'unmount', mountPoint]);
      t.match(unmounted, { status: 0 }, unmounted.stderr);
      await mount.child.ended;
      t.equal(findMount(mountPoint), undefined);
    });
  }
});

void t.test('unmount --if-dead takes a dead mount away and leaves a living one', async (t) => {
  const { mount, mountPoint } = await serve(t);
  const cli = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));
  const unmount = () => runCommand(process.execPath, [cli, 'unmount', '--if-dead', mountPoint]);
  t.match(await unmount(), { status: 0, stderr: '' });
  t.ok(findMount(mountPoint), 'the living one stays');
  sendSignal(mount.child.pid, 'SIGKILL');
  await mount.child.ended;
  t.match(await unmount(), { status: 0, stderr: /removed its dead mount/ });
  t.equal(findMount(mountPoint), undefined);
  t.match(await unmount(), { status: 0, stderr: '' }, 'nothing to do');
});
