/**
 * Who takes part in a benchmark, and how each is mounted: with the settings its own documentation
 * recommends for throughput, foreground, and all caches empty at the start.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startMount } from '../../lib/demo/mount-process.js';
import { findMount } from '../../lib/mount-table.js';

export interface Place {
  readonly url: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface BenchMount {
  readonly path: string;
  stop(): Promise<void>;
}

export interface Contestant {
  readonly name: string;
  /** whether it can run here */
  readonly isHere: () => boolean;
  mount(place: Place): Promise<BenchMount>;
}

export const contestants: readonly Contestant[] = [
  s3jail('kernel'),
  s3jail('fuse-native'),
  peer('s3fs', (place, path, files) => [
    ...[place.bucket, path, '-f', '-o', `url=${place.url},use_path_request_style`],
    ...['-o', `passwd_file=${files.s3fs},parallel_count=8,multipart_size=8`],
  ]),
  peer('rclone', (place, path, files) => [
    ...['mount', `bench:${place.bucket}`, path, '--config', files.rclone],
    // Only without its write cache does close tell whether S3 has the data.
    ...['--vfs-cache-mode', 'off', '--dir-cache-time', '5s', '--vfs-read-chunk-streams', '8'],
  ]),
  peer('mount-s3', (place, path) => [
    ...[place.bucket, path, '--foreground', '--endpoint-url', place.url, '--force-path-style'],
    ...['--region', 'us-east-1', '--allow-delete', '--allow-overwrite'],
  ]),
  peer('goofys', (place, path) => ['-f', '--endpoint', place.url, place.bucket, path]),
  peer('geesefs', (place, path) => [
    ...['-f', '--endpoint', place.url, '--fsync-on-close', place.bucket, path],
  ]),
];

function s3jail(driver: 'kernel' | 'fuse-native'): Contestant {
  return {
    name: `s3jail ${driver}`,
    isHere: () => driver !== 'kernel' || process.getuid?.() === 0,
    mount: async (place) => {
      const path = await mkdtemp(join(tmpdir(), 's3jail-bench-'));
      const mounted = await startMount({
        source: `s3://${place.bucket}/`,
        mountPoint: path,
        endpointUrl: place.url,
        credentials: place,
        options: ['--driver', driver, '--region', 'us-east-1'],
        output: 'keep',
      });
      const stop = async (): Promise<void> => {
        await mounted.stop();
        await rm(path, { recursive: true });
      };
      return { path, stop };
    },
  };
}

interface KeyFiles {
  readonly s3fs: string;
  readonly rclone: string;
}

function peer(
  command: string,
  argumentsFor: (place: Place, path: string, files: KeyFiles) => string[],
): Contestant {
  return {
    name: command,
    isHere: () => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0,
    mount: async (place) => {
      const directory = await mkdtemp(join(tmpdir(), 's3jail-bench-'));
      const path = await mkdtemp(join(tmpdir(), 's3jail-bench-'));
      const files = { s3fs: join(directory, 's3fs'), rclone: join(directory, 'rclone') };
      await writeKeys(files, place);
      const child = spawn(command, argumentsFor(place, path, files), {
        stdio: 'ignore',
        env: peerEnvironment(place),
      });
      const stop = async (): Promise<void> => {
        spawnSync('umount', ['-l', path]);
        child.kill('SIGTERM');
        await rm(directory, { recursive: true });
        await rm(path, { recursive: true });
      };
      for (let tries = 0; findMount(path) === undefined; tries++) {
        if (tries > 300 || child.exitCode !== null) {
          await stop();
          throw new Error(`${command} did not mount`);
        }
        await sleep(50);
      }
      return { path, stop };
    },
  };
}

async function writeKeys(files: KeyFiles, place: Place): Promise<void> {
  const { accessKeyId, secretAccessKey, url } = place;
  await writeFile(files.s3fs, `${accessKeyId}:${secretAccessKey}\n`, { mode: 0o600 });
  const lines = [
    ...['[bench]', 'type = s3', 'provider = Other', `endpoint = ${url}`],
    ...[`access_key_id = ${accessKeyId}`, `secret_access_key = ${secretAccessKey}`],
    ...['region = us-east-1', 'chunk_size = 8M', 'upload_concurrency = 8'],
  ];
  await writeFile(files.rclone, `${lines.join('\n')}\n`, { mode: 0o600 });
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
