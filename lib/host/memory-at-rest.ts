/**
 * Gives memory back once nothing happens any more. V8 collects garbage when more is asked for, so that
 * what the last transfer left would stay for as long as a mount rests, which is most of its life.
 *
 * One timer looks now and then while there is work, and none once all is given back. It takes two
 * collections: V8 lets go of a generation's room only when the one before found little in it.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Nothing happened for this long, or for up to twice as long. */
const usualRestMs = 4000;
const collections = 2;
/** Less garbage than this is not worth a collection of all. */
const worthBytes = 8 * 1024 * 1024;
/** As much is: the last collection may have come in a pause of a transfer, and found all of it in use. */
const muchBytes = 64 * 1024 * 1024;

export class MemoryAtRest {
  readonly #restMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;
  #collectionsLeft = 0;
  #keptBytes = 0;
  #collect: (() => void) | undefined;

  constructor(restMs = usualRestMs) {
    this.#restMs = restMs;
  }

  /** Something happens. Called for every operation. */
  note(): void {
    this.#isBusy = true;
    this.#timer ??= setTimeout(() => this.#look(), this.#restMs).unref();
  }

  #look(): void {
    const isBusy = this.#isBusy;
    this.#isBusy = false;
    if (isBusy) this.#collectionsLeft = collections;
    else this.#rest();
    if (this.#collectionsLeft > 0) this.#timer?.refresh();
    else this.#timer = undefined;
  }

  #rest(): void {
    const isFirst = this.#collectionsLeft === collections;
    if (isFirst && heldBytes() < Math.min(this.#keptBytes + worthBytes, muchBytes)) {
      this.#collectionsLeft = 0;
      return;
    }
    this.#collect ??= collector();
    this.#collect();
    this.#collectionsLeft -= 1;
    this.#keptBytes = heldBytes();
  }
}

function heldBytes(): number {
  const { heapTotal, external } = process.memoryUsage();
  return heapTotal + external;
}

/** A collection of everything, which Node has no other way to ask for than this flag. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
