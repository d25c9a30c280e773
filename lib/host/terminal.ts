/** One line at the foot of a terminal that is drawn over and over. */
import { printable } from './printable.js';

/** How far something has come. */
export interface Progress {
  readonly text: string;
  /** 0 to 1: of all that was to be stored since it began */
  readonly share: number;
}

const width = 30;
const clearLine = '\r\x1b[K';

export class ProgressBar {
  readonly #terminal: NodeJS.WriteStream;
  #isDrawn = false;

  constructor(terminal: NodeJS.WriteStream) {
    this.#terminal = terminal;
  }

  show({ text, share }: Progress): void {
    const filled = Math.round(width * share);
    const bar = '#'.repeat(filled) + '.'.repeat(width - filled);
    const percent = `${Math.floor(100 * share)}%`.padStart(4);
    const line = `[${bar}]${percent} ${printable(text)}`;
    this.#terminal.write(`${clearLine}${line.slice(0, (this.#terminal.columns || 80) - 1)}`);
    this.#isDrawn = true;
  }

  /** Makes room for lines that stay. */
  clear(): void {
    if (this.#isDrawn) this.#terminal.write(clearLine);
    this.#isDrawn = false;
  }
}
