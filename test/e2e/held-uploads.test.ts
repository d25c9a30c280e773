/**
 * `--interrupted resume` through sshd: an upload whose network is cut, and the clients that go on with
 * it, in the same mount or in the next. No part is sent twice, and nobody else sees anything of it.
 */
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { Child, runCommand, sendSignal, type Ending } from '../../lib/demo/child.js';
import { program } from '../../lib/demo/mount-process.js';
import { clientOptions } from '../../lib/demo/sshd.js';
import type { StatusReport } from '../../lib/observability/status-report.js';
import { succeeded } from '../support/expect.js';
import { startJail, type Jail, type JailSettings } from '../support/jail.js';
import { lftp } from '../support/lftp.js';
import { writeRandomFile } from '../support/local-files.js';
import { mountForTest } from '../support/mounted.js';
import { startRelay, type Relay } from '../support/relay.js';
import { serverNames } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

t.setTimeout(900_000);

type Cut = 'reset' | 'silence';

/** Puts `large`, and cuts the network once `cutAt` bytes have arrived. */
async function cutWhilePutting(t: Test, jail: Jail, cutAt: number, how: Cut): Promise<void> {
  const relay = await startRelay(t, jail.sshd.port);
  const sftp = await slowPut(jail, relay, 'large');
  await until(async () => {
    if (!sftp.isRunning) throw new Error(`the put ended too early: ${sftp.stderr}`);
    return (await sizeOf(jail.path('large'))) >= cutAt;
  });
  if (how === 'reset') relay.reset();
  else relay.fallSilent();
  // sshd ends the session, whose process ends once its open file is held.
  await until(() => jail.mounted.log().includes('what arrived is held'));
  await sftp.stop();
}

async function slowPut(jail: Jail, relay: Relay, name: string): Promise<Child> {
  const { sshd, account } = jail;
  // sftp counts its limit in Kbit/s: slow enough to be met half way.
  const options = ['-l', '300000', '-b', '-', '-P', String(relay.port)];
  const known = ['-o', `HostKeyAlias=[127.0.0.1]:${sshd.port}`];
  const args = [...options, ...clientOptions(sshd), ...known, `${account.name}@127.0.0.1`];
  return await Child.start('sftp', args, {
    cwd: jail.local,
    input: { text: `put large ${name}\n` },
  });
}

async function sizeOf(path: string): Promise<number> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.size ?? 0;
}

/** kill -9, and another mount at the same place. */
async function mountAgain(t: Test, jail: Jail, options: readonly string[]): Promise<void> {
  sendSignal(jail.mounted.child.pid, 'SIGKILL');
  await jail.mounted.child.ended;
  const { account, proxy, server, local, mounted } = jail;
  await mountForTest(t, {
    ...{ server, url: proxy.url, driver: 'kernel', mountPoint: mounted.mountPoint },
    place: dirname(local),
    options: ['--uid', account.name, '--gid', String(account.gid), ...options],
  });
}

const resume = ['--interrupted', 'resume'];

async function startResumingJail(t: Test, more: Partial<JailSettings> = {}): Promise<Jail> {
  return await startJail(t, { server: 'embedded', driver: 'kernel', options: resume, ...more });
}

const paramikoAppend = `
import os, paramiko, sys
host, port, user, key, name = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect(host, int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
with open(name, 'rb') as local, sftp.open('/' + name, 'ab') as remote:
    local.seek(sftp.stat('/' + name).st_size)
    remote.set_pipelined(True)
    while True:
        data = local.read(1 << 20)
        if not data: break
        remote.write(data)
`;

const clients: Readonly<Record<string, (jail: Jail) => Promise<Ending>>> = {
  "sftp's reput": (jail) => jail.sftp('reput large'),
  "sftp's put -a": (jail) => jail.sftp('put -a large'),
  "lftp's put -c": (jail) => lftp(jail, 'put -c large'),
  "paramiko's append": ({ account, sshd, local }) => {
    const facts = ['127.0.0.1', String(sshd.port), account.name, sshd.identityFile, 'large'];
    return runCommand('/usr/bin/python3', ['-c', paramikoAppend, ...facts], { cwd: local });
  },
};

/** Part numbers, in the order they were sent. */
function partsSent(jail: Jail): number[] {
  return jail.proxy.log
    .filter(({ action, key }) => action === 'UploadPart' && key === 'large')
    .map(({ query }) => Number(new URLSearchParams(query).get('partNumber')));
}

async function seesNothing(t: Test, jail: Jail): Promise<void> {
  t.strictSame(await jail.bucket.keys(), [], 'nothing is published');
  const arrived = await sizeOf(jail.path('large'));
  const listing = await jail.sftp('ls -ln');
  t.match(listing.stdout, new RegExp(` ${arrived} .* large$`, 'm'), 'the user sees what arrived');
}

for (const [client, goOn] of Object.entries(clients)) {
  for (const isKilled of [false, true]) {
    const between = isKilled ? ', with a kill -9 of the mount in between' : '';
    const mebibytes = client.includes('reput') ? 200 : 64;
    void t.test(
      `${mebibytes} MiB, cut by a reset, gone on with by ${client}${between}`,
      async (t) => {
        const jail = await startResumingJail(t);
        const size = mebibytes * mebibyte;
        const whole = await writeRandomFile(join(jail.local, 'large'), size);
        jail.proxy.reset();
        await cutWhilePutting(t, jail, 0.4 * size, 'reset');
        await seesNothing(t, jail);
        const arrived = await sizeOf(jail.path('large'));
        if (isKilled) await mountAgain(t, jail, resume);
        t.equal(await sizeOf(jail.path('large')), arrived);
        succeeded(t, await goOn(jail), client);
        t.equal(await jail.bucket.sha256('large'), whole);
        t.strictSame(await jail.bucket.uploads(), []);
        const parts = partsSent(jail).sort((one, other) => one - other);
        t.strictSame(
          parts,
          [...Array(mebibytes / 8).keys()].map((at) => at + 1),
          'each part is sent once',
        );
        t.ok(jail.proxy.bytes().fromClient < size + mebibyte, 'and no byte more');
      },
    );
  }
}

for (const server of serverNames().filter((name) => name !== 'embedded')) {
  void t.test(`an upload is gone on with by the next mount, on ${server}`, async (t) => {
    const jail = await startResumingJail(t, { server });
    const whole = await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
    await cutWhilePutting(t, jail, 20 * mebibyte, 'reset');
    await seesNothing(t, jail);
    await mountAgain(t, jail, resume);
    succeeded(t, await jail.sftp('reput large'), 'reput');
    t.equal(await jail.bucket.sha256('large'), whole);
    t.strictSame(await jail.bucket.uploads(), []);
    const parts = partsSent(jail).sort((one, other) => one - other);
    t.strictSame(parts, [1, 2, 3, 4, 5, 6, 7, 8], 'each part is sent once');
  });
}

void t.test('a client that falls silent is ended by ClientAlive, and goes on', async (t) => {
  const jail = await startResumingJail(t, { clientAliveSeconds: 1 });
  const whole = await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
  await cutWhilePutting(t, jail, 20 * mebibyte, 'silence');
  await seesNothing(t, jail);
  succeeded(t, await jail.sftp('reput large'), 'reput');
  t.equal(await jail.bucket.sha256('large'), whole);
});

for (const isKilled of [false, true]) {
  const between = isKilled ? ', with a kill -9 of the mount in between' : '';
  void t.test(`the name is published by another meanwhile: theirs stays${between}`, async (t) => {
    const jail = await startResumingJail(t);
    await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
    await cutWhilePutting(t, jail, 20 * mebibyte, 'reset');
    await jail.bucket.put('large', 'theirs');
    if (isKilled) await mountAgain(t, jail, resume);
    const { status } = await jail.sftp('reput large');
    t.not(status, 0, 'the client hears of it');
    t.ok((await jail.bucket.bytes('large')).equals(Buffer.from('theirs')));
    t.strictSame(await jail.bucket.uploads(), [], 'the upload is aborted');
  });
}

void t.test('SIGTERM and umount publish nothing of it and lose nothing', async (t) => {
  const jail = await startResumingJail(t);
  const whole = await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
  await cutWhilePutting(t, jail, 20 * mebibyte, 'reset');
  const arrived = await sizeOf(jail.path('large'));
  await jail.mounted.stop();
  t.strictSame(await jail.bucket.keys(), []);
  await mountAgain(t, jail, resume);
  t.equal(await sizeOf(jail.path('large')), arrived);
  succeeded(t, await jail.sftp('reput large'), 'reput');
  t.equal(await jail.bucket.sha256('large'), whole);
});

void t.test('status lists what is held, and gives it up', async (t) => {
  const jail = await startResumingJail(t);
  const { mountPoint } = jail.mounted;
  const status = (...args: string[]) =>
    runCommand(process.execPath, [program, 'status', mountPoint, ...args]);
  await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
  await cutWhilePutting(t, jail, 20 * mebibyte, 'reset');
  const arrived = await sizeOf(jail.path('large'));
  const [{ report }] = JSON.parse((await status('--json')).stdout) as [{ report: StatusReport }];
  const [held] = report.held;
  t.equal(held?.path, '/large');
  t.equal((held?.inParts ?? 0) + (held?.local ?? 0), arrived);
  t.match(
    (await status()).stdout,
    /held uploads .* in parts, .* here, for .*, until .* {2}\/large/,
  );
  const other = await status('--discard-held', '/other');
  t.equal(other.status, 32);
  t.match(
    other.stderr,
    /^s3jail: \/other on .* is not given up: .*no interrupted upload is held there/,
  );
  succeeded(t, await status('--discard-held', 'large'), '--discard-held');
  t.equal(await sizeOf(jail.path('large')), 0);
  t.strictSame(await jail.bucket.uploads(), []);
  t.strictSame(await jail.bucket.keys(), []);
});

void t.test('fuse-native is refused', async (t) => {
  const starting = startResumingJail(t, { driver: 'fuse-native' });
  await t.rejects(starting, /cannot tell a connection that dropped from a close/);
});
