/**
 * What all readers of a mount share: the memory for bytes read ahead, and the bytes themselves, so
 * that two handles on one version of an object fetch them once.
 *
 * The memory is shared out evenly among the readers that are reading; who rests gives up what it holds
 * as soon as somebody else needs it.
 */
import { Budget } from './budget.js';
import type { Clock } from '../clock.js';
import { Lag } from './hedging.js';
import { SharedObject } from './shared-object.js';
import { SpareBuffers } from './buffer-pool.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

/** One that shares. */
export interface PoolMember {
  /** Wants nothing kept until it reads again. */
  rest(): void;
}

/**
 * Who has not read for this long rests. One who reads at 300 KB/s asks every 13 seconds, because the
 * kernel has read 4 MiB ahead for him, and what he would give up he would fetch again.
 */
const restMs = 15_000;

/** Of the memory, so much is kept beside it for buffers to come. */
const spareShare = 8;

export class ReadPool {
  readonly lag = new Lag();
  readonly buffers: SpareBuffers;
  readonly #memory: Budget;
  readonly #clock: Clock;
  readonly #objects = new Map<string, SharedObject>();
  /** readers at work with the time of their last read, the longest ago first */
  readonly #active = new Map<PoolMember, number>();
  /** readers that rest and may hold bytes */
  readonly #resting = new Set<PoolMember>();
  readonly #wantRoom = new Set<() => void>();

  /** @param capacity bytes that all readers together may hold */
  constructor(capacity: number, clock: Clock) {
    this.#clock = clock;
    this.#memory = new Budget(capacity);
    this.buffers = new SpareBuffers(capacity / spareShare);
  }

  /** bytes held */
  get used(): number {
    return this.#memory.used;
  }

  /** The most bytes that were ever held at once. */
  get peak(): number {
    return this.#memory.peak;
  }

  /** bytes each reader at work may hold */
  get share(): number {
    return Math.floor(this.#memory.capacity / Math.max(1, this.#active.size));
  }

  /** The bytes of one version of an object; whoever reads them joins it. */
  object(store: ObjectStore, info: ObjectInfo): SharedObject {
    const name = `${info.etag} ${info.key}`;
    const known = this.#objects.get(name);
    if (known !== undefined) return known;
    const object: SharedObject = new SharedObject({
      store,
      info,
      pool: this,
      onUnused: () => {
        if (this.#objects.get(name) === object) this.#objects.delete(name);
      },
    });
    this.#objects.set(name, object);
    return object;
  }

  /** A reader reads. */
  note(member: PoolMember): void {
    const nowMs = this.#clock.nowMs();
    this.#resting.delete(member);
    this.#active.delete(member);
    this.#active.set(member, nowMs);
    for (const [other, lastMs] of this.#active) {
      if (nowMs - lastMs < restMs) break;
      this.#active.delete(other);
      this.#resting.add(other);
    }
  }

  leave(member: PoolMember): void {
    this.#active.delete(member);
    this.#resting.delete(member);
  }

  /** Takes memory if there is room, or as soon as readers that rest have made some. */
  tryTake(bytes: number): boolean {
    while (!this.#memory.tryTake(bytes)) {
      const [resting] = this.#resting;
      if (resting === undefined) return false;
      this.#resting.delete(resting);
      resting.rest();
    }
    return true;
  }

  give(bytes: number): void {
    this.#memory.give(bytes);
    for (const tryAgain of this.#wantRoom) tryAgain();
  }

  /**
   * @param tryAgain called whenever memory is given back
   * @returns ends that
   */
  onRoom(tryAgain: () => void): () => void {
    this.#wantRoom.add(tryAgain);
    return () => this.#wantRoom.delete(tryAgain);
  }
}
