/**
 * Users of a test's own host (own-users.ts), and a mount of homes for them; what a user does is done by
 * a process of theirs, which says of each step how it ended.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { startSshd, type Sshd } from '../../lib/demo/sshd.js';
import { endingOf } from './command.js';
import { startFaultProxy, type FaultProxy } from './fault-proxy.js';
import { mountForTest, type Mounted } from './mounted.js';
import { makeDirectory, makePlace } from './place.js';
import { useServer, type ServerName, type TestServer } from './servers.js';

/** useradd(8), without its checks and its pace. */
export function addUser(name: string, uid: number, gid = uid): void {
  appendFileSync('/etc/passwd', `${name}:x:${uid}:${gid}::/:/bin/sh\n`);
  appendFileSync('/etc/shadow', `${name}:*:19000:0:99999:7:::\n`);
}

export function removeUser(name: string): void {
  for (const file of ['/etc/passwd', '/etc/shadow']) {
    const lines = readFileSync(file, 'utf8').split('\n');
    writeFileSync(file, lines.filter((line) => !line.startsWith(`${name}:`)).join('\n'));
  }
}

export interface HomesMount {
  readonly server: TestServer;
  readonly mounted: Mounted;
  /** a path below the mount point */
  readonly path: (...names: string[]) => string;
  /** a directory that only root can write to */
  readonly place: string;
}

export interface HomesSettings {
  readonly isClosed: boolean;
  /** absent: the embedded endpoint */
  readonly on?: ServerName;
  /** where requests are sent, if not straight to the server */
  readonly url?: (server: TestServer) => Promise<string>;
  readonly options?: readonly string[];
}

/** `s3://BUCKET/users/` mounted as homes, below a directory that is closed to others or not. */
export async function mountHomes(t: Test, settings: HomesSettings): Promise<HomesMount> {
  const { isClosed, url, options = [] } = settings;
  const place = await makePlace(t);
  const server = await useServer(t, settings.on ?? 'embedded');
  const outer = await makeDirectory(place, 'sftp');
  chmodSync(outer, isClosed ? 0o700 : 0o755);
  const mountPoint = await makeDirectory(outer, 'homes');
  const mounted = await mountForTest(t, {
    ...{ server, place, mountPoint, driver: 'kernel', prefix: 'users/' },
    ...(url !== undefined && { url: await url(server) }),
    options: ['--homes', ...options],
  });
  return { server, mounted, place, path: (...names) => join(mountPoint, ...names) };
}

/** The same, with a proxy between the mount and the server. */
export async function mountHomesByProxy(
  t: Test,
  settings: Omit<HomesSettings, 'url'>,
): Promise<HomesMount & { readonly proxy: FaultProxy }> {
  let proxy: FaultProxy | undefined;
  const url = async ({ url: target }: TestServer): Promise<string> => {
    proxy = await startFaultProxy({ target });
    t.teardown(() => proxy?.close());
    return proxy.url;
  };
  const mount = await mountHomes(t, { ...settings, url });
  if (proxy === undefined) throw new Error('the mount asks past the proxy');
  return { ...mount, proxy };
}

/** One sshd that puts each user into the own home. */
export async function startHomesSshd(t: Test, mountPoint: string, place: string): Promise<Sshd> {
  const sshd = await startSshd({
    directory: await makeDirectory(place, 'ssh'),
    user: '*',
    server: 'internal',
    chrootDirectory: join(mountPoint, '%u'),
  });
  t.teardown(() => sshd.stop());
  return sshd;
}

/** A function of `fs`, without Sync, and its arguments. */
export type Step = readonly [name: string, ...args: readonly unknown[]];

const script = `
  const fs = require('fs');
  const answers = JSON.parse(process.argv[1]).map(([name, ...args]) => {
    try {
      const answer = fs[name + 'Sync'](...args);
      return Buffer.isBuffer(answer) ? answer.toString() : (answer ?? null);
    } catch (error) {
      if (error.code === undefined) throw error;
      return error.code;
    }
  });
  process.stdout.write(JSON.stringify(answers));`;

/** What each step answers a process of this user: what the function does, or the errno's name. */
export async function stepsAs(uid: number, steps: readonly Step[]): Promise<unknown[]> {
  const identity = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
  const command = [process.execPath, '-e', script, JSON.stringify(steps)];
  const child = spawn('setpriv', [...identity, ...command], {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { status, stdout, stderr } = await endingOf(child);
  if (status !== 0) throw new Error(`a process of uid ${uid} failed: ${stderr}`);
  return JSON.parse(stdout) as unknown[];
}
