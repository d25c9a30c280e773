/**
 * Signals that end a mount: the first asks it to store what is open and go, the second to give up.
 */

const names = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export class StopSignals {
  /** what asked first: a signal's name, or the reason given to `request` */
  readonly first: Promise<string>;
  readonly #givenUp = new AbortController();
  readonly #listeners = new Map<NodeJS.Signals, () => void>();
  #reason: string | undefined;
  #tell: (reason: string) => void = () => undefined;

  /**
   * @param options.onHangup does what else SIGHUP may mean, or returns false: a terminal that is gone
   */
  constructor(options: { onHangup?: () => boolean } = {}) {
    this.first = new Promise((resolve) => {
      this.#tell = resolve;
    });
    for (const name of names) {
      const listener = () => {
        if (name !== 'SIGHUP' || options.onHangup?.() !== true) this.request(name);
      };
      this.#listeners.set(name, listener);
      process.on(name, listener);
    }
  }

  /** Aborts at the second signal. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  /** Asks to stop as a signal does. */
  request(reason: string): void {
    if (this.#reason !== undefined) {
      this.#givenUp.abort(new Error(`second ${reason}`));
      return;
    }
    this.#reason = reason;
    this.#tell(reason);
  }

  /** The result of `work`, unless being asked to stop comes first. */
  async unlessStopped<T>(work: Promise<T>, refusal: (reason: string) => Error): Promise<T> {
    return Promise.race([
      work,
      this.first.then((reason) => {
        throw refusal(reason);
      }),
    ]);
  }

  close(): void {
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }
}
