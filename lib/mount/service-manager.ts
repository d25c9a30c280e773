/**
 * What systemd hears of a mount that it started with Type=notify: that it is usable, what it is
 * doing, that it ends, and, while a probe through the mount is answered, that it is alive.
 *
 * The messages are datagrams to the Unix socket $NOTIFY_SOCKET (sd_notify(3)). Node has no such
 * sockets, so systemd's own systemd-notify(1) sends them: it is there wherever the variable is set, and
 * native code in this process would be a worse dependency. As a child of ours it needs NotifyAccess=all
 * in the unit. Without the variable nothing happens.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { bareEnvironment } from '../host/bare-environment.js';
import { messageOf } from '../host/failure.js';
import type { Log } from '../log.js';

/** Asks the mount something; rejects where no answer comes. */
export type Probe = (timeoutMs: number) => Promise<void>;

/** A message that systemd does not take within this time is given up. */
const notifyMs = 10_000;
/** How long the first answer may take. */
const readyMs = 30_000;
/** What ending may take beyond the storing: unmounting, and the last lines of the log. */
const endMs = 30_000;

export class ServiceManager {
  readonly #environment: NodeJS.ProcessEnv | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #log: Log;
  #sent: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isProbing = false;
  #hasFailed = false;

  /** @param environment of this process */
  constructor(environment: NodeJS.ProcessEnv, log: Log) {
    this.#log = log;
    this.#environment = environment['NOTIFY_SOCKET'] ? environment : undefined;
    this.#watchdogMs = this.#environment === undefined ? undefined : watchdogMs(environment);
  }

  /** Whether anybody listens. */
  get isPresent(): boolean {
    return this.#environment !== undefined;
  }

  /**
   * Says that the mount is usable, once the probe is answered, and feeds the watchdog from then on.
   * @throws what the probe rejects with
   */
  async ready(status: string, probe: Probe): Promise<void> {
    if (!this.isPresent) return;
    await probe(readyMs);
    await this.#send('READY=1', `STATUS=${oneLine(status)}`);
    if (this.#watchdogMs === undefined) return;
    // Half of the limit, as sd_watchdog_enabled(3) asks for.
    const periodMs = this.#watchdogMs / 2;
    this.#timer = setInterval(() => void this.#feed(probe, periodMs), periodMs);
    this.#timer.unref();
  }

  /** A line for `systemctl status`. */
  status(text: string): void {
    void this.#send(`STATUS=${oneLine(text)}`);
  }

  /**
   * Says that the mount ends, and how long that may take, whatever TimeoutStopSec is: from now on no
   * probe is made, because the mount may be gone.
   */
  stopping(drainTimeoutMs: number): void {
    clearInterval(this.#timer);
    const microseconds = (drainTimeoutMs + endMs) * 1000;
    void this.#send('STOPPING=1', `EXTEND_TIMEOUT_USEC=${microseconds}`);
  }

  /** Waits until everything said is with systemd. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sent;
  }

  async #feed(probe: Probe, timeoutMs: number): Promise<void> {
    // A probe that hangs is the only one: others would hang too, one more process each.
    if (this.#isProbing) return;
    this.#isProbing = true;
    try {
      await probe(timeoutMs);
      await this.#send('WATCHDOG=1');
    } catch (error) {
      this.#log.error({}, `the mount does not answer: ${messageOf(error)}`);
    } finally {
      this.#isProbing = false;
    }
  }

  /** One after the other, as each is a program of its own. */
  #send(...assignments: string[]): Promise<void> {
    this.#sent = this.#sent.then(() => this.#sendNow(assignments));
    return this.#sent;
  }

  async #sendNow(assignments: string[]): Promise<void> {
    if (this.#environment === undefined) return;
    const { NOTIFY_SOCKET } = this.#environment;
    const options = { env: { ...bareEnvironment, NOTIFY_SOCKET }, timeout: notifyMs };
    try {
      await promisify(execFile)('systemd-notify', assignments, options);
    } catch (error) {
      // The mount works without; once is enough, as the next message will fail likewise.
      if (!this.#hasFailed) this.#log.warn({}, `systemd cannot be told: ${messageOf(error)}`);
      this.#hasFailed = true;
    }
  }
}

/** sd_watchdog_enabled(3): the limit, if it is meant for this process. */
function watchdogMs(environment: NodeJS.ProcessEnv): number | undefined {
  const microseconds = Number(environment['WATCHDOG_USEC']);
  const pid = environment['WATCHDOG_PID'];
  if (!(microseconds > 0) || (pid !== undefined && Number(pid) !== process.pid)) return undefined;
  return microseconds / 1000;
}

/** A line break would begin another assignment. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
