/**
 * The objects that are being read, one for each version, so that two handles on the same version fetch
 * its bytes once.
 */
import { HedgePolicy } from './hedging.js';
import type { ReadMemory } from './memory.js';
import type { Key } from '../path.js';
import { SharedObject } from './shared-object.js';
import type { Holder } from '../limits/shares.js';
import type { ObjectInfo, ObjectStore } from '../store.js';

export class SharedObjects {
  readonly memory: ReadMemory;
  readonly holderOf: (key: Key) => Holder;
  readonly #hedging = new HedgePolicy();
  readonly #objects = new Map<string, SharedObject>();

  /** @param holderOf for whom an object is read; absent: for the one that all are */
  constructor(memory: ReadMemory, holderOf: (key: Key) => Holder = () => undefined) {
    this.memory = memory;
    this.holderOf = holderOf;
  }

  /** The bytes of one version of an object; whoever reads them joins it. */
  of(store: ObjectStore, info: ObjectInfo): SharedObject {
    const name = `${info.etag} ${info.key}`;
    const known = this.#objects.get(name);
    if (known !== undefined) return known;
    const object: SharedObject = new SharedObject({
      store,
      info,
      memory: this.memory,
      holder: this.holderOf(info.key),
      hedging: this.#hedging,
      onUnused: () => {
        if (this.#objects.get(name) === object) this.#objects.delete(name);
      },
    });
    this.#objects.set(name, object);
    return object;
  }

  /** @throws Error where an object is not in order, or memory is held by none; for tests */
  check(): void {
    let held = 0;
    for (const object of this.#objects.values()) {
      object.check();
      held += object.held;
    }
    const { used } = this.memory;
    if (held !== used) throw new Error(`chunks hold ${held} bytes of the ${used} that are taken`);
  }
}
