/**
 * The program as an administrator uses it: processes of their own between the embedded endpoint and a
 * directory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { startEndpoint, type Endpoint } from '../../lib/endpoint/endpoint.js';
import { detach } from '../../lib/host/mount-programs.js';
import { findMount } from '../../lib/host/mount-table.js';
import { findRecord } from '../../lib/host/runtime-record.js';

const programs = fileURLToPath(new URL('../../bin/', import.meta.url));
export const s3jail = join(programs, 's3jail.cjs');
export const helper = join(programs, 'mount.s3jail.cjs');
export const secret = 'c2VjcmV0LW9mLXRoZS10ZXN0';

export interface Ending {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes mount(8) find the helper, until the test ends; one that is there already stays. */
export async function installHelper(t: Test): Promise<void> {
  const installed = '/sbin/mount.s3jail';
  if (existsSync(installed)) return;
  await symlink(helper, installed);
  t.teardown(() => rm(installed));
}

/** A directory, an endpoint and a free mount point; all gone when the test ends. */
export class Place {
  readonly base: string;
  readonly mountPoint: string;
  readonly log: string;
  readonly endpoint: Endpoint;

  private constructor(base: string, endpoint: Endpoint) {
    this.base = base;
    this.mountPoint = join(base, 'mnt');
    this.log = join(base, 'mount.log');
    this.endpoint = endpoint;
  }

  static async make(t: Test): Promise<Place> {
    const base = await mkdtemp('/var/tmp/s3jail-command-');
    const endpoint = await startEndpoint({
      directory: join(base, 'objects'),
      credentials: [{ accessKeyId: 'test', secretAccessKey: secret }],
      buckets: ['bucket'],
    });
    const place = new Place(base, endpoint);
    await mkdir(place.mountPoint, { mode: 0o755 });
    t.teardown(async () => {
      const pid = place.pid;
      if (pid !== undefined && !hasEnded(pid)) process.kill(pid, 'SIGKILL');
      while (findMount(place.mountPoint) !== undefined) {
        await detach(place.mountPoint, { lazy: true, cut: true });
      }
      findRecord(place.mountPoint, undefined)?.remove();
      await endpoint.close();
      await rm(base, { recursive: true, force: true });
    });
    return place;
  }

  /** The process that serves the mount point now. */
  get pid(): number | undefined {
    return findRecord(this.mountPoint, undefined)?.read()?.pid;
  }

  /** What that process says it is doing. */
  get phase(): string | undefined {
    return findRecord(this.mountPoint, undefined)?.state.phase;
  }

  get options(): string[] {
    return ['--endpoint-url', this.endpoint.url, '--temp-dir', join(this.base, 'temp')];
  }

  /** Directories for temporary files that mounts of this place have now. */
  get tempDirectories(): string[] {
    const own = join(this.base, 'temp', 's3jail-0');
    const names = existsSync(own) ? readdirSync(own) : [];
    // Journal and lock are beside them.
    return names.filter((name) => /\.\d+\.\d+$/.test(name));
  }

  async mount(t: Test, ...more: string[]): Promise<Ending> {
    const args = ['mount', 's3://bucket/alice/', this.mountPoint, ...this.options];
    const ending = await run(s3jail, [...args, '--log-file', this.log, '--access', 'any', ...more]);
    t.match(ending, { status: 0, stdout: '', stderr: '' }, 'the mount is made silently');
    return ending;
  }

  path(name: string): string {
    return join(this.mountPoint, name);
  }

  /** Nothing of a mount is left on this machine. */
  checkGone(t: Test): void {
    t.equal(findMount(this.mountPoint), undefined, 'the mount is gone');
    t.equal(findRecord(this.mountPoint, undefined), undefined, 'its record is gone');
    t.same(this.tempDirectories, [], 'its temporary files are gone');
  }
}

/** Variables of a program's own; undefined takes one away. */
export type Env = Readonly<Record<string, string | undefined>>;

export function environment(env: Env): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AWS|S3JAIL)_/.test(name));
  return {
    ...Object.fromEntries(inherited),
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: secret,
    AWS_REGION: 'us-east-1',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    ...env,
  };
}

export function run(program: string, args: readonly string[], env: Env = {}): Promise<Ending> {
  return endingOf(start(program, args, env));
}

export function start(program: string, args: readonly string[], env: Env = {}): ChildProcess {
  return spawn(process.execPath, [program, ...args], {
    env: environment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export function endingOf(child: ChildProcess): Promise<Ending> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (status) => done({ status, stdout, stderr }));
  });
}

export function hasEnded(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return true;
  return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

/**
 * A program that has written to a file and not closed it yet. Not this process: a file that is open
 * here would be flushed whenever a child is started, by a kernel that waits for S3, which is here.
 */
export class Writer {
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ending>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = endingOf(child);
  }

  static async start(t: Test, path: string, text: string): Promise<Writer> {
    const script = `
      const fs = require('fs');
      const file = fs.openSync(process.argv[1], 'w');
      fs.writeSync(file, process.argv[2]);
      fs.writeSync(2, 'written');
      process.stdin.once('end', () => {
        try { fs.closeSync(file); } catch (error) { console.log(error.code); }
      }).resume();`;
    const child = spawn(process.execPath, ['-e', script, path, text], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const writer = new Writer(child);
    await new Promise((written) => child.stderr.once('data', written));
    return writer;
  }

  /** Ends it before it has closed the file. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** @returns the errno name that close(2) answered with; empty for success */
  async close(): Promise<string> {
    this.#child.stdin?.end();
    return (await this.#ended).stdout.trim();
  }
}
