/** A mount of the toy core for tests of the drivers, served by a child process. */
import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { systemErrorCode } from '../../lib/errors.js';
import { findMount } from '../../lib/host/mount-table.js';
import { until } from './until.js';

/** What the server can be told to do, and answers. */
export type Order =
  | { do: 'records' }
  | { do: 'logged' }
  | { do: 'limits' }
  | { do: 'handles' }
  | { do: 'delay'; ms: number }
  /** `bug` is an error that nobody foresaw; without an errno the operation works again */
  | { do: 'fail'; operation: string; errno?: string }
  | { do: 'replace'; path: string; text: string }
  | { do: 'vanish'; path: string }
  | { do: 'fill'; names: string[] }
  | { do: 'unmount'; lazy: boolean };

export interface ServerSettings {
  readonly source?: string;
  readonly allowOther?: boolean;
  readonly readOnly?: boolean;
  readonly owner?: { uid: number; gid: number };
}

export interface ServeOptions extends ServerSettings {
  readonly driver: 'kernel' | 'fuse-native';
  /** user and group of the server */
  readonly uid?: number;
  /** where the compiled `lib` and `test` are, if not here */
  readonly dist?: string;
  readonly mountPoint?: string;
  /** options of the server's node */
  readonly nodeOptions?: readonly string[];
}

const here = fileURLToPath(new URL('../..', import.meta.url));

/** A directory of the test's own, removed when it ends. */
export async function scratch(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 's3jail-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

export class MemoryMount {
  readonly mountPoint: string;
  /** settles when the server says that the kernel has let go */
  readonly unmounted: Promise<void>;
  readonly #server: ChildProcess;
  #lastId = 0;

  /** @throws Error with the sentence that the driver refused with */
  static async start(t: Test, options: ServeOptions): Promise<MemoryMount> {
    const mountPoint = options.mountPoint ?? (await scratch(t));
    const { driver, uid, dist = here, nodeOptions = [], ...settings } = options;
    const program = join(dist, 'test/support/memory-mount-server.js');
    const server = fork(program, [driver, mountPoint, JSON.stringify(settings)], {
      ...(uid === undefined ? {} : { uid, gid: uid }),
      execArgv: [...process.execArgv, ...nodeOptions],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    let said = '';
    server.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
    t.teardown(() => end(server, mountPoint));
    const exited = once(server, 'exit').then(() => ({ failed: `the server ended: ${said}` }));
    const [message] = (await Promise.race([once(server, 'message'), exited.then((m) => [m])])) as [
      { failed?: string },
    ];
    if (message.failed !== undefined) throw new Error(message.failed);
    return new MemoryMount(server, mountPoint);
  }

  constructor(server: ChildProcess, mountPoint: string) {
    this.#server = server;
    this.mountPoint = mountPoint;
    this.unmounted = new Promise((resolve) => {
      server.on('message', (message: { unmounted?: true }) => {
        if (message.unmounted === true) resolve();
      });
    });
  }

  get pid(): number {
    return this.#server.pid ?? 0;
  }

  path(name: string): string {
    return join(this.mountPoint, name);
  }

  /** @throws Error with `code` where the server's order failed */
  async tell<T = unknown>(order: Order): Promise<T> {
    const id = ++this.#lastId;
    const answered = new Promise<T>((resolve, reject) => {
      const listen = (message: { id?: number; value?: T; error?: string; code?: string }): void => {
        if (message.id !== id) return;
        this.#server.off('message', listen);
        if (message.error === undefined) resolve(message.value as T);
        else reject(Object.assign(new Error(message.error), { code: message.code }));
      };
      this.#server.on('message', listen);
    });
    this.#server.send({ id, order });
    return await answered;
  }

  /** Unmounts; who only looks at it, as `s3jail status` in a test beside this one, is waited out. */
  async unmount(): Promise<void> {
    await until(async () => {
      try {
        await this.tell({ do: 'unmount', lazy: false });
        return true;
      } catch (error) {
        if (systemErrorCode(error) === 'EBUSY') return false;
        throw error;
      }
    });
  }

  /** Handles that stay open: the kernel sends RELEASE after close(2) has returned. */
  async handlesLeft(): Promise<number> {
    let left = await this.tell<number>({ do: 'handles' });
    for (let tries = 0; left > 0 && tries < 100; tries++) {
      await sleep(50);
      left = await this.tell<number>({ do: 'handles' });
    }
    return left;
  }

  /** What the core was asked since the last time, without the lookups. */
  async asked(): Promise<string[]> {
    const records = await this.tell<string[]>({ do: 'records' });
    return records.filter((record) => !record.startsWith('getattr '));
  }

  /** How the server process ended. */
  async exit(): Promise<number | null> {
    if (this.#server.exitCode === null) await once(this.#server, 'exit');
    return this.#server.exitCode;
  }
}

/** Whatever state they are in: no mount and no process is left. */
async function end(server: ChildProcess, mountPoint: string): Promise<void> {
  while (findMount(mountPoint) !== undefined) {
    await promisify(execFile)('umount', ['-l', '--', mountPoint]);
  }
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.kill('SIGKILL');
  await once(server, 'exit');
}

/** Runs a shell command, as the users of a mount do. */
export async function shell(command: string, cwd: string): Promise<Ran> {
  return await new Promise((resolve) => {
    execFile('sh', ['-c', command], { cwd }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ status, stdout, stderr });
    });
  });
}

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}
