/**
 * The memory for bytes read ahead that all readers of a mount share.
 *
 * It is divided evenly among the readers that are reading; where homes share it, among the homes first,
 * with room for one more (shares.ts). An idle reader keeps what it holds until another needs the room;
 * then it is evicted.
 */
import { Budget } from '../limits/budget.js';
import { BufferPool } from './buffer-pool.js';
import type { Clock } from '../clock.js';
import type { Holder } from '../limits/shares.js';

/** One that holds bytes in the memory. */
export interface MemoryUser {
  /** for whom */
  readonly holder: Holder;
  /** Gives back what it holds; it may read again, and then holds anew. */
  evict(): void;
}

/**
 * Idle timeout of a reader. Not shorter: with 4 MiB of kernel read-ahead a client at 300 kB/s calls
 * read only every 13 s, and evicting its bytes would fetch them again.
 */
const idleMs = 15_000;

/** The part of the memory that is kept beside it as buffers to be used again. */
const spareShare = 8;

export class ReadMemory {
  readonly buffers: BufferPool;
  readonly #budget: Budget;
  readonly #clock: Clock;
  /** users that read, with the time of their last read, the least recent first */
  readonly #active = new Map<MemoryUser, number>();
  /** users that may hold bytes and can be evicted */
  readonly #idle = new Set<MemoryUser>();
  readonly #wantRoom = new Set<() => void>();

  /** @param capacity bytes that all readers together may hold */
  constructor(capacity: number, clock: Clock) {
    this.#clock = clock;
    this.#budget = new Budget(capacity);
    this.buffers = new BufferPool(capacity / spareShare);
  }

  /** bytes held */
  get used(): number {
    return this.#budget.used;
  }

  /** The most bytes that were ever held at once. */
  get peak(): number {
    return this.#budget.peak;
  }

  /** bytes an active user may hold */
  shareOf({ holder }: MemoryUser): number {
    const { capacity } = this.#budget;
    if (holder === undefined) return Math.floor(capacity / Math.max(1, this.#active.size));
    const holders = new Set<Holder>();
    let fellows = 0;
    for (const user of this.#active.keys()) {
      if (user.holder !== undefined) holders.add(user.holder);
      if (user.holder === holder) fellows++;
    }
    return Math.floor(capacity / (holders.size + 1) / Math.max(1, fellows));
  }

  /** `user` reads now. */
  touch(user: MemoryUser): void {
    const nowMs = this.#clock.nowMs();
    this.#idle.delete(user);
    this.#active.delete(user);
    this.#active.set(user, nowMs);
    for (const [other, lastMs] of this.#active) {
      if (nowMs - lastMs < idleMs) break;
      this.#active.delete(other);
      this.#idle.add(other);
    }
  }

  /** `user` holds nothing any more. */
  leave(user: MemoryUser): void {
    this.#active.delete(user);
    this.#idle.delete(user);
  }

  /** Takes memory if there is room, or once enough idle users were evicted to make it. */
  tryTake(bytes: number, holder?: Holder): boolean {
    while (!this.#budget.tryTake(bytes, holder)) {
      const idle = this.#firstIdle(holder, this.#budget.isFair(bytes, holder));
      if (idle === undefined) return false;
      this.#idle.delete(idle);
      idle.evict();
    }
    return true;
  }

  /** @param isFair else only one of the same holder makes room, which is in its share */
  #firstIdle(holder: Holder, isFair: boolean): MemoryUser | undefined {
    for (const user of this.#idle) if (isFair || user.holder === holder) return user;
    return undefined;
  }

  give(bytes: number, holder?: Holder): void {
    this.#budget.give(bytes, holder);
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
