/** What a preflight found: one line for each thing looked at. */
import { printable } from '../host/printable.js';

export type Verdict = 'ok' | 'warn' | 'FAIL';

/** Takes the findings as they come. */
export class Findings {
  readonly #print: (line: string) => void;
  #failures = 0;

  /** @param print takes one line, without its end */
  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** Whether a mount would work. */
  get isFine(): boolean {
    return this.#failures === 0;
  }

  ok(what: string, found: string): void {
    this.#add('ok', what, found);
  }

  /** A mount works, but less well than it could; `found` says what to do. */
  warn(what: string, found: string): void {
    this.#add('warn', what, found);
  }

  /** A mount would not work; `found` says why and what to do. */
  fail(what: string, found: string): void {
    this.#failures += 1;
    this.#add('FAIL', what, found);
  }

  #add(verdict: Verdict, what: string, found: string): void {
    // Parts of a line may come from a server.
    this.#print(`${verdict.padEnd(4)}  ${what}: ${printable(found.replace(/\p{Cc}+/gu, ' '))}`);
  }
}
