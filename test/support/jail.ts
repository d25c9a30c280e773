/**
 * The whole picture for one test: an S3 server, a proxy that counts and spoils requests, a mount, a
 * user, a chrooted sshd, and OpenSSH's own clients calling it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { makeAccount, type Account } from '../../lib/demo/account.js';
import { runCommand, type Ending } from '../../lib/demo/child.js';
import { clientOptions, startSshd, type Sshd } from '../../lib/demo/sshd.js';
import type { Bucket } from './bucket.js';
import { startFaultProxy, type FaultProxy } from './fault-proxy.js';
import { mountForTest, type Mounted, type MountForTest, type Setting } from './mounted.js';
import { makeDirectory, makePlace } from './place.js';
import { useServer, type LentKey, type TestServer } from './servers.js';

/**
 * - `root`: the mount itself is the chroot, served by internal-sftp
 * - `below`: the mount is the directory `files` of a root-owned chroot
 * - `external`: no chroot, served by the program sftp-server, beginning in the mount
 */
export type Layout = 'root' | 'below' | 'external';

export interface JailSettings extends Setting {
  readonly layout?: Layout;
  readonly prefix?: string;
  readonly clientAliveSeconds?: number;
  /** gives the mount a key of its own, which can be revoked */
  readonly hasLentKey?: boolean;
  /** further options of `s3jail mount` */
  readonly options?: readonly string[];
}

export class Jail {
  readonly server: TestServer;
  readonly bucket: Bucket;
  readonly proxy: FaultProxy;
  readonly mounted: Mounted;
  readonly account: Account;
  readonly sshd: Sshd;
  readonly key: LentKey | undefined;
  /** where the clients run: their local directory */
  readonly local: string;

  constructor(parts: Omit<Jail, 'bucket' | 'sftp' | 'scp' | 'path' | 'remote'>) {
    this.server = parts.server;
    this.bucket = parts.server.bucket;
    this.proxy = parts.proxy;
    this.mounted = parts.mounted;
    this.account = parts.account;
    this.sshd = parts.sshd;
    this.key = parts.key;
    this.local = parts.local;
  }

  /** Runs sftp(1) on these batch lines; the first that fails ends it, unless it begins with `-`. */
  sftp(...lines: string[]): Promise<Ending> {
    const args = ['-b', '-', '-P', String(this.sshd.port), ...clientOptions(this.sshd)];
    return runCommand('sftp', [...args, `${this.account.name}@127.0.0.1`], {
      cwd: this.local,
      input: { text: `${lines.join('\n')}\n` },
    });
  }

  /** Runs scp(1); `remote` makes the names of the other side. */
  scp(...args: string[]): Promise<Ending> {
    const options = ['-P', String(this.sshd.port), ...clientOptions(this.sshd)];
    return runCommand('scp', [...options, ...args], { cwd: this.local });
  }

  /** A path of the server as scp(1) wants it. */
  remote(path: string): string {
    return `${this.account.name}@127.0.0.1:${path}`;
  }

  /** A path below the mount point, for looking at it without SFTP. */
  path(name: string): string {
    return join(this.mounted.mountPoint, name);
  }
}

/** Sets it all up; it goes away with the test. */
export async function startJail(t: Test, settings: JailSettings): Promise<Jail> {
  const place = await makePlace(t);
  const server = await useServer(t, settings.server);
  const proxy = await startFaultProxy({ target: server.url });
  t.teardown(() => proxy.close());
  const key = settings.hasLentKey === true ? await server.lendKey() : undefined;
  const user = await jailUser(t, {
    ...settings,
    server,
    credentials: key?.credentials ?? server.credentials,
    url: proxy.url,
    prefix: () => settings.prefix ?? '',
    place,
  });
  const local = join(place, 'local');
  await mkdir(local, { mode: 0o700 });
  return new Jail({ ...user, server, proxy, key, local });
}

export interface JailedUser {
  readonly account: Account;
  readonly mounted: Mounted;
  readonly sshd: Sshd;
}

export interface UserSettings extends Omit<MountForTest, 'prefix' | 'mountPoint'> {
  readonly layout?: Layout;
  readonly clientAliveSeconds?: number;
  readonly prefix: (account: Account) => string;
}

/** A user with a mount, and an sshd that lets them in. */
export async function jailUser(t: Test, settings: UserSettings): Promise<JailedUser> {
  const { layout = 'root', place, options = [], clientAliveSeconds } = settings;
  const account = await makeAccount('s3jail-test');
  t.teardown(() => account.remove());
  const chroot = await makeDirectory(place, 'jail');
  const mountPoint = layout === 'root' ? chroot : await makeDirectory(chroot, 'files');
  const mounted = await mountForTest(t, {
    ...settings,
    prefix: settings.prefix(account),
    options: ['--uid', account.name, '--gid', String(account.gid), ...options],
    mountPoint,
  });
  const sshd = await startSshd({
    directory: await makeDirectory(place, 'ssh'),
    user: account.name,
    ...(clientAliveSeconds !== undefined && { clientAliveSeconds }),
    server: layout === 'external' ? 'external' : 'internal',
    ...(layout === 'root' ? { chrootDirectory: chroot } : {}),
    ...(layout === 'below' ? { chrootDirectory: chroot, startDirectory: '/files' } : {}),
    ...(layout === 'external' ? { startDirectory: mountPoint } : {}),
  });
  t.teardown(() => sshd.stop());
  return { account, mounted, sshd };
}
