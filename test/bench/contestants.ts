/**
 * Who takes part in a benchmark, and how each is mounted, in the foreground and with all caches empty at
 * the start: s3jail as users do, with what it does by itself; the peers with the settings their own
 * documentation recommends for throughput, parts of 8 MiB and eight requests at a time where they let
 * one choose, durable at close where they can be, and what S3 said repeated for a minute.
 *
 * SFTPGo mounts nothing: it is an SFTP server on S3 itself, for the rows that go through SFTP.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../../lib/demo/child.js';
import { freePort } from '../../lib/demo/sshd.js';
import { detachMounts, startMount } from '../../lib/demo/mount-process.js';
import { findMount } from '../../lib/host/mount-table.js';
import type { Place } from './storage.js';

export interface MountOrder {
  readonly place: Place;
  /** the mount point */
  readonly path: string;
  /** for temporary files and keys; empty */
  readonly directory: string;
  /** whom the files belong to */
  readonly owner: { readonly name: string; readonly uid: number; readonly gid: number };
  /** file with the public key of whoever comes by SFTP */
  readonly publicKeyFile: string;
  /** entity tags are not the MD5 of what was sent, as with S3's KMS encryption */
  readonly hasRandomTags: boolean;
}

export interface BenchMount {
  readonly pid: number;
  /** where it speaks SFTP itself */
  readonly sftpPort?: number;
  stop(): Promise<void>;
}

export interface Contestant {
  readonly name: string;
  readonly serves: 'a mount' | 'a mount that sshd can chroot to' | 'sftp alone';
  /** whether it can run here */
  isHere(): boolean;
  /** @throws Error with what it said */
  mount(order: MountOrder): Promise<BenchMount>;
}

const partMib = 8;
const concurrency = 8;
/** how long each may repeat what S3 said */
const ttlSeconds = 60;
const mountLimitMs = 30_000;

export const contestants: readonly Contestant[] = [
  s3jail('kernel'),
  s3jail('fuse-native'),
  peer('s3fs', async ({ place, path, directory, owner: { uid, gid } }) => {
    const keys = await keyFile(directory, `${place.accessKeyId}:${place.secretAccessKey}`);
    const options = [
      ...[`url=${place.url}`, 'use_path_request_style', 'endpoint=us-east-1'],
      ...[`passwd_file=${keys}`, `tmpdir=${directory}`, `parallel_count=${concurrency}`],
      ...[`multipart_size=${partMib}`, 'enable_noobj_cache', 'complement_stat', 'umask=0022'],
      ...[`stat_cache_expire=${ttlSeconds}`, 'allow_other', 'mp_umask=0022'],
      ...[`uid=${uid}`, `gid=${gid}`],
    ];
    return [place.bucket, path, '-f', '-o', options.join(',')];
  }),
  peer('rclone', async ({ place, path, directory, owner: { uid, gid }, hasRandomTags }) => {
    const config = await keyFile(
      directory,
      ...['[bench]', 'type = s3', 'provider = Other', `endpoint = ${place.url}`],
      ...[`access_key_id = ${place.accessKeyId}`, `secret_access_key = ${place.secretAccessKey}`],
      ...['region = us-east-1', `chunk_size = ${partMib}M`, `upload_concurrency = ${concurrency}`],
    );
    return [
      ...['mount', `bench:${place.bucket}`, path, '--config', config, '--cache-dir', directory],
      // Only without its write cache does close tell whether S3 has the data.
      ...['--vfs-cache-mode', 'off', '--no-modtime'],
      ...['--dir-cache-time', `${ttlSeconds}s`, '--attr-timeout', `${ttlSeconds}s`],
      ...(readsInStreams() ? ['--vfs-read-chunk-streams', String(concurrency)] : []),
      ...(hasRandomTags ? ['--ignore-checksum', '--no-checksum'] : []),
      ...['--allow-other', '--uid', String(uid), '--gid', String(gid)],
    ];
  }),
  peer('mount-s3', ({ place, path, owner: { uid, gid } }) => [
    ...[place.bucket, path, '--foreground', '--endpoint-url', place.url, '--force-path-style'],
    ...['--region', 'us-east-1', '--allow-delete', '--allow-overwrite', '--allow-other'],
    ...['--uid', String(uid), '--gid', String(gid), '--metadata-ttl', String(ttlSeconds)],
  ]),
  // Both keep what S3 said for a minute anyway.
  peer('goofys', ({ place, path, owner: { uid, gid } }) => [
    ...['-f', '--endpoint', place.url, '-o', 'allow_other', '--uid', String(uid)],
    ...['--gid', String(gid), place.bucket, path],
  ]),
  peer('geesefs', ({ place, path, owner: { uid, gid } }) => [
    ...['-f', '--endpoint', place.url, '--region', 'us-east-1', '--fsync-on-close'],
    ...['-o', 'allow_other', '--uid', String(uid), '--gid', String(gid), place.bucket, path],
  ]),
  sftpgo(),
];

function s3jail(driver: 'kernel' | 'fuse-native'): Contestant {
  return {
    name: `s3jail ${driver}`,
    serves: 'a mount that sshd can chroot to',
    isHere: () => true,
    mount: async ({ place, path, directory, owner }) => {
      const options = ['--driver', driver, '--region', 'us-east-1', '--temp-dir', directory];
      options.push('--uid', String(owner.uid), '--gid', String(owner.gid));
      const mount = await startMount({
        source: `s3://${place.bucket}/`,
        mountPoint: path,
        endpointUrl: place.url,
        credentials: place,
        options,
        output: 'keep',
      });
      return { pid: mount.child.pid, stop: () => mount.stop() };
    },
  };
}

function peer(
  command: string,
  argumentsFor: (order: MountOrder) => string[] | Promise<string[]>,
): Contestant {
  return {
    name: command,
    serves: 'a mount',
    isHere: () => isOnPath(command),
    mount: async (order) => {
      const child = await Child.start(command, await argumentsFor(order), {
        env: peerEnvironment(order.place),
      });
      const stop = async (): Promise<void> => {
        // It ends with its mount; what hangs is ended.
        await detachMounts(order.path);
        await child.stop();
      };
      const deadline = Date.now() + mountLimitMs;
      while (findMount(order.path) === undefined) {
        if (!child.isRunning || Date.now() > deadline) {
          await stop();
          throw new Error(`${command} did not mount: ${child.stderr.trim()}`);
        }
        await sleep(20);
      }
      return { pid: child.pid, stop };
    },
  };
}

/** In its portable mode: one account, which is in no database (docs/portable-mode.md of SFTPGo). */
function sftpgo(): Contestant {
  return {
    name: 'sftpgo',
    serves: 'sftp alone',
    isHere: () => isOnPath('sftpgo'),
    mount: async ({ place, directory, owner, publicKeyFile }) => {
      const sftpPort = await freePort();
      const key = (await readFile(publicKeyFile, 'utf8')).trim();
      const args = ['portable', '--sftpd-port', String(sftpPort), '--username', owner.name];
      args.push('--public-key', key, '--permissions', '*', '--log-file-path', '');
      args.push('--fs-provider', 's3fs', '--s3-bucket', place.bucket, '--s3-region', 'us-east-1');
      args.push('--s3-endpoint', place.url, '--s3-force-path-style');
      args.push('--s3-upload-part-size', String(partMib));
      args.push('--s3-upload-concurrency', String(concurrency));
      // It makes its host keys where it runs, and takes the keys to S3 from the environment.
      const child = await Child.start('sftpgo', args, {
        ...{ env: peerEnvironment(place), cwd: directory },
      });
      const stop = async (): Promise<void> => {
        await child.stop();
      };
      try {
        await untilListening(sftpPort, child);
      } catch (error) {
        await stop();
        throw error;
      }
      return { pid: child.pid, sftpPort, stop };
    },
  };
}

async function untilListening(port: number, child: Child): Promise<void> {
  const deadline = Date.now() + mountLimitMs;
  while (!(await listens(port))) {
    if (!child.isRunning || Date.now() > deadline) {
      throw new Error(`nobody listens: ${child.stderr.trim()}`);
    }
    await sleep(20);
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

function isOnPath(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
}

async function keyFile(directory: string, ...lines: string[]): Promise<string> {
  const path = join(directory, 'keys');
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  return path;
}

/** rclone reads in parallel from version 1.69 on. */
function readsInStreams(): boolean {
  const { stdout } = spawnSync('rclone', ['mount', '--help'], { encoding: 'utf8' });
  return stdout.includes('--vfs-read-chunk-streams');
}

function peerEnvironment(place: Place): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    AWS_ACCESS_KEY_ID: place.accessKeyId,
    AWS_SECRET_ACCESS_KEY: place.secretAccessKey,
    AWS_REGION: 'us-east-1',
  };
  // Debian's rclone does not start with it.
  delete env['AWS_CA_BUNDLE'];
  return env;
}

/** One for all, since sshd is told of it before. */
export function mountPointBelow(parent: string): string {
  return join(parent, 'mnt');
}

/** A mount on a fresh directory below `parent`, and the directory away with it. */
export async function mountAfresh(
  contestant: Contestant,
  parent: string,
  order: Omit<MountOrder, 'path' | 'directory'>,
): Promise<BenchMount & { readonly path: string }> {
  const path = mountPointBelow(parent);
  const directory = join(parent, 'temp');
  await mkdir(path, { mode: 0o755 });
  await mkdir(directory, { mode: 0o700 });
  const remove = async (): Promise<void> => {
    await rm(directory, { recursive: true });
    // Fails while something is mounted there, so that nothing is deleted through a mount.
    await rmdir(path);
  };
  try {
    const mount = await contestant.mount({ ...order, path, directory });
    const stop = async (): Promise<void> => {
      await mount.stop();
      await remove();
    };
    return { ...mount, path, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}
