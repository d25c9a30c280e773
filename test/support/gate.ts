/**
 * Gates of the fault proxy: a chosen request is stopped until a test lets it through, so that what
 * happens meanwhile is tried in an order and not in a time.
 */
import type { ProxyAction } from './faults.js';

/** Which request a gate stops, and where. */
export interface GateOptions {
  /** any if absent */
  readonly action?: ProxyAction;
  /** any if absent */
  readonly key?: string;
  /** the first matching request to stop, counted from 1 as of now; 1 if absent */
  readonly ordinal?: number;
  /** before the server has seen it, or when it has done all and only its answer is missing */
  readonly at: 'request' | 'answer';
}

/** One request that waits until it is let through. */
export interface Gate {
  /** resolves when the request is there */
  readonly arrived: Promise<void>;
  open(): void;
}

/** A gate with the request that it is for. */
export class ClosedGate implements Gate {
  readonly at: GateOptions['at'];
  readonly arrived: Promise<void>;
  readonly opened: Promise<void>;
  arrive: () => void = () => undefined;
  open: () => void = () => undefined;
  readonly #action: ProxyAction | undefined;
  readonly #key: string | undefined;
  #ahead: number;

  constructor({ action, key, ordinal = 1, at }: GateOptions) {
    this.at = at;
    this.#action = action;
    this.#key = key;
    this.#ahead = ordinal;
    this.arrived = new Promise((resolve) => (this.arrive = resolve));
    this.opened = new Promise((resolve) => (this.open = resolve));
  }

  /** Whether the request that came now is the one. */
  isFor(action: ProxyAction, key: string): boolean {
    if (this.#action !== undefined && this.#action !== action) return false;
    if (this.#key !== undefined && this.#key !== key) return false;
    this.#ahead -= 1;
    return this.#ahead === 0;
  }
}
