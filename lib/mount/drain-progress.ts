/** How far the end of a mount has come: what is left to store, as a sentence and as a share. */
import type { OpenUpload } from '../filesystem/settings.js';
import type { Progress } from '../host/terminal.js';
import { showSize } from '../options/values.js';

const namesShown = 3;

export class DrainProgress {
  readonly #partSize: number;
  #mostLeft = 0;

  /** @param partSize bytes */
  constructor(partSize: number) {
    this.#partSize = partSize;
  }

  of(uploads: readonly OpenUpload[]): Progress {
    const left = uploads.reduce((sum, { size, sent }) => sum + size - sent, 0);
    const parts = uploads.reduce((sum, upload) => sum + this.#partsOf(upload), 0);
    this.#mostLeft = Math.max(this.#mostLeft, left);
    const names = uploads.slice(0, namesShown).map(({ path }) => path);
    const more = uploads.length > names.length ? ', …' : '';
    return {
      text:
        `storing ${count(uploads.length, 'file')}, ${showSize(left)} in ` +
        `${count(parts, 'part')} left (${names.join(', ')}${more})`,
      share: this.#mostLeft === 0 ? 0 : 1 - left / this.#mostLeft,
    };
  }

  #partsOf({ size, sent }: OpenUpload): number {
    return Math.max(1, Math.ceil((size - sent) / this.#partSize));
  }
}

function count(number: number, what: string): string {
  return number === 1 ? `1 ${what}` : `${number} ${what}s`;
}
