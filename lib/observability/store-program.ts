/**
 * `--on-store COMMAND`: a program that hears of each file that was stored, by the line of the audit log
 * on its standard input.
 *
 * It never stands in the way: nothing waits for it but the end of the mount, for a while. It is started for
 * the first line and kept; one that ends is started again for the next, after pauses that grow. What it
 * does not take is held within a limit, then dropped, counted and told of; what it was handed is its own.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { bareEnvironment } from '../host/bare-environment.js';
import { messageOf } from '../host/failure.js';
import type { Log } from '../log.js';

/** Some thousand lines. */
const waitingMost = 1024 * 1024;
const firstPauseMs = 1000;
const longestPauseMs = 5 * 60_000;
/** One that lasted so long had no reason of its own to end. */
const lastsMs = 60_000;
/** For what waits, once the mount has ended. */
const farewellMs = 5000;

export interface StoreProgramSettings {
  readonly command: string;
  readonly log: Log;
  /** told of each line that is dropped */
  readonly metrics: { lineDropped(): void };
}

export class StoreProgram {
  readonly #settings: StoreProgramSettings;
  readonly #waiting: string[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #child: ChildProcess | undefined;
  #pause: NodeJS.Timeout | undefined;
  #pauseMs = firstPauseMs;
  #closed: (() => void) | undefined;

  constructor(settings: StoreProgramSettings) {
    this.#settings = settings;
  }

  tell(line: string): void {
    if (this.#waitingBytes + line.length > waitingMost) {
      this.#drop(1);
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    if (this.#child === undefined && this.#pause === undefined) this.#start();
    else this.#handOver();
  }

  /** Hands over what waits, and ends the program; one that does not end is killed. */
  async close(): Promise<void> {
    clearTimeout(this.#pause);
    if (this.#child === undefined && this.#waiting.length === 0) return;
    const ended = new Promise<void>((done) => (this.#closed = done));
    if (this.#child === undefined) this.#start();
    else this.#handOver();
    const limit = setTimeout(() => this.#kill(), farewellMs);
    await ended;
    clearTimeout(limit);
    if (this.#waiting.length > 0) this.#drop(this.#waiting.length);
  }

  #start(): void {
    const startMs = performance.now();
    let child: ChildProcess | undefined;
    const ended = (how: string): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#ended(how, performance.now() - startMs);
    };
    try {
      child = begin(this.#settings.command);
    } catch (error) {
      ended(messageOf(error));
      return;
    }
    this.#child = child;
    child.once('error', (error) => ended(error.message));
    child.once('exit', (status, signal) => ended(signal ?? `status ${status ?? '?'}`));
    // EPIPE: it has ended, which is told above.
    child.stdin?.on('error', () => undefined).on('drain', () => this.#handOver());
    this.#handOver();
  }

  #handOver(): void {
    const input = this.#child?.stdin;
    if (!input) return;
    while (this.#waiting.length > 0 && !input.writableNeedDrain && input.writable) {
      const line = this.#waiting.shift() ?? '';
      this.#waitingBytes -= line.length;
      input.write(line);
    }
    if (this.#waiting.length > 0) return;
    if (this.#dropped > 0) {
      const dropped = this.#dropped;
      this.#dropped = 0;
      this.#settings.log.warn({ dropped }, 'the program of --on-store takes lines again');
    }
    if (this.#closed !== undefined) input.end();
  }

  #ended(how: string, lastedMs: number): void {
    if (this.#closed !== undefined) {
      this.#closed();
      return;
    }
    if (lastedMs >= lastsMs) this.#pauseMs = firstPauseMs;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    const again = `it is started again in ${pauseMs / 1000} seconds`;
    this.#settings.log.warn({ how }, `the program of --on-store has ended; ${again}`);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (this.#waiting.length > 0) this.#start();
    }, pauseMs).unref();
  }

  #drop(lines: number): void {
    const { log, metrics } = this.#settings;
    for (let line = 0; line < lines; line++) metrics.lineDropped();
    this.#dropped += lines;
    if (this.#dropped === lines) {
      log.warn({ lines }, 'the program of --on-store is too slow: lines are dropped');
    }
  }

  #kill(): void {
    const { pid } = this.#child ?? {};
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has just ended by itself.
    }
  }
}

/**
 * By the shell, which is there whatever becomes of the mount: Node waits until a program has begun, which
 * would be for ever if it lay on this mount.
 */
function begin(command: string): ChildProcess {
  return spawn('/bin/sh', ['-c', command], {
    cwd: '/',
    env: bareEnvironment,
    stdio: ['pipe', 'ignore', 'ignore'],
    // A group of its own, which ends as one.
    detached: true,
  });
}
