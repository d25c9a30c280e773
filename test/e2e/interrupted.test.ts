/**
 * A connection that drops in the middle of a put. Only the kernel driver learns who closes a file and
 * how, so only there can it be told from a close by the client.
 */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Child, descendantsOf, sendSignal } from '../../lib/demo/child.js';
import { clientOptions } from '../../lib/demo/sshd.js';
import { succeeded } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { sha256OfFile, writeRandomFile } from '../support/local-files.js';
import { sha256 } from '../support/bucket.js';
import { serverNames } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

/** More than the mount needs to have sent parts before the end. */
const cutAt = 20 * mebibyte;

t.setTimeout(900_000);

for (const server of serverNames()) {
  void t.test(`discarded, on ${server}`, async (t) => {
    const jail = await startJail(t, { server, driver: 'kernel' });
    await jail.bucket.put('old', 'as it was');
    for (const name of ['new', 'old']) await dropWhilePutting(t, jail, name);
    await settled(jail);
    // The kernel tells the mount of the close of a program that was killed in its own time.
    await until(async () => (await jail.bucket.uploads()).length === 0);
    t.strictSame(await jail.bucket.keys(), ['old'], 'nothing is published');
    t.equal(await jail.bucket.text('old'), 'as it was', 'what was there is as it was');
    const listing = await jail.sftp('ls -ln');
    t.match(listing.stdout, / 9 .* old$/m);
    t.notMatch(listing.stdout, /new$/m);
    succeeded(t, await jail.sftp('put large new'), 'the next put');
    t.equal(await jail.bucket.sha256('new'), await sha256OfFile(join(jail.local, 'large')));
  });

  void t.test(`kept, on ${server}, and completed by reput`, async (t) => {
    const jail = await startJail(t, {
      server,
      driver: 'kernel',
      options: ['--interrupted', 'keep'],
    });
    await dropWhilePutting(t, jail, 'new');
    await settled(jail);
    // A server that dies is let go after a second; storing goes on without it.
    await until(async () => (await jail.bucket.keys()).includes('new'));
    const local = await readFile(join(jail.local, 'large'));
    const stored = await jail.bucket.bytes('new');
    t.ok(stored.length > 0 && stored.length < local.length, 'a beginning of it is stored');
    t.equal(sha256(stored), sha256(local.subarray(0, stored.length)), 'byte for byte');
    t.strictSame(await jail.bucket.uploads(), []);
    succeeded(t, await jail.sftp('reput large new'), 'reput');
    t.equal(await jail.bucket.sha256('new'), sha256(local));
  });
}

/** Puts `large`, and kills the client's end of the connection once part of it has arrived. */
async function dropWhilePutting(t: Test, jail: Jail, name: string): Promise<void> {
  await writeRandomFile(join(jail.local, 'large'), 64 * mebibyte);
  // sftp counts its limit in Kbit/s: slow enough to be met half way.
  const options = ['-l', '100000', '-b', '-', '-P', String(jail.sshd.port)];
  const address = `${jail.account.name}@127.0.0.1`;
  const sftp = await Child.start('sftp', [...options, ...clientOptions(jail.sshd), address], {
    cwd: jail.local,
    input: { text: `put large ${name}\n` },
  });
  while ((await sizeOf(jail.path(name))) < cutAt) {
    if (!sftp.isRunning) throw new Error(`the put ended too early: ${sftp.stderr}`);
    await sleep(50);
  }
  // sftp itself first: without its ssh it would end by itself.
  for (const pid of [sftp.pid, ...descendantsOf(sftp.pid)]) sendSignal(pid, 'SIGKILL');
  const { status } = await sftp.ended;
  t.equal(status, 137, 'the client is gone');
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return 0;
  const { size } = await file.stat();
  await file.close();
  return size;
}

/** Waits until sshd has ended the dropped sessions, and with them their last close. */
async function settled(jail: Jail): Promise<void> {
  await until(() => descendantsOf(jail.sshd.pid).length === 0);
}
