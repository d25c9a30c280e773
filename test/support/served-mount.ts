/**
 * A mount served by a process of its own (serve-memory), for tests and scripts that look at it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import type { MountSettings } from '../../lib/fuse/driver.js';
import type { Commands } from './serve-memory.js';
import { until } from './until.js';

interface Answer {
  readonly id?: number;
  readonly answer?: unknown;
  readonly ready?: boolean;
  readonly unmounted?: boolean;
}

export interface ServeOptions {
  readonly settings?: Partial<Omit<MountSettings, 'log'>>;
  readonly driver?: 'kernel' | 'fuse-native';
  readonly core?: 'memory' | 'instant';
  readonly poolSize?: number;
  readonly nodeArguments?: readonly string[];
  /** use this directory and leave it */
  readonly mountPoint?: string;
}

export class ServedMount {
  readonly mountPoint: string;
  readonly process: ChildProcess;
  /** what the process wrote to stderr */
  said = '';
  readonly #own: boolean;
  readonly #waiting = new Map<number, (answer: unknown) => void>();
  #nextId = 1;
  #mounted = false;
  #unmounted = false;

  private constructor(options: ServeOptions) {
    this.#own = options.mountPoint === undefined;
    this.mountPoint = options.mountPoint ?? mkdtempSync(join(tmpdir(), 's3jail-kernel-'));
    this.process = fork(
      new URL('serve-memory.js', import.meta.url),
      [
        this.mountPoint,
        options.driver ?? 'kernel',
        options.core ?? 'memory',
        JSON.stringify(options.settings ?? {}),
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        env: { ...process.env, UV_THREADPOOL_SIZE: String(options.poolSize ?? 16) },
        execArgv: [...(options.nodeArguments ?? [])],
      },
    );
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.said += text;
    });
    this.process.on('message', (message: Answer) => {
      if (message.unmounted === true) this.#unmounted = true;
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message.answer);
      if (message.id !== undefined) this.#waiting.delete(message.id);
      // Nothing but this channel keeps the process then.
      if (this.#unmounted && this.#waiting.size === 0) this.process.disconnect();
    });
  }

  /** @throws Error with what the process said, if it ends before the mount is ready */
  static async start(options: ServeOptions = {}): Promise<ServedMount> {
    const served = new ServedMount(options);
    const ready = new Promise<void>((resolve, reject) => {
      served.process.once('message', () => resolve());
      served.process.once('close', () => reject(new Error(`not mounted: ${served.said}`)));
    });
    await ready.catch((error: unknown) => {
      served.#removeMountPoint();
      throw error;
    });
    served.#mounted = true;
    return served;
  }

  /** A path below the mount point. */
  path(...names: string[]): string {
    return join(this.mountPoint, ...names);
  }

  async ask<Name extends keyof Commands>(
    name: Name,
    ...args: Parameters<Commands[Name]>
  ): Promise<Awaited<ReturnType<Commands[Name]>>> {
    const id = this.#nextId++;
    const answer = new Promise<unknown>((resolve) => this.#waiting.set(id, resolve));
    this.process.send({ id, name, args });
    return (await answer) as Awaited<ReturnType<Commands[Name]>>;
  }

  /** Waits until `question` answers yes; what a test waits for has to happen, however slowly. */
  async until(question: () => Promise<boolean> | boolean): Promise<void> {
    await until(question);
  }

  /** Unmounts; who only looks at it, as `s3jail status` in a test beside this one, is waited out. */
  async unmount(): Promise<{ code?: string }> {
    let answer: { code?: string } = {};
    await until(async () => {
      answer = await this.ask('unmount', false);
      return answer.code !== 'EBUSY';
    });
    return answer;
  }

  /** Ends process and mount, in whatever state they are. */
  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const closed = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await closed;
    }
    this.#removeMountPoint();
  }

  #removeMountPoint(): void {
    // Fails where the mount is gone already, which is as good.
    if (this.#mounted)
      spawnSync('umount', ['-i', '-n', '-l', this.mountPoint], { stdio: 'ignore' });
    if (this.#own) rmdirSync(this.mountPoint);
  }
}
