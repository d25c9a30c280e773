/** What has to be undone, in reverse order, whatever happened in between. */
import { messageOf } from '../host/failure.js';

export class TakeDown {
  readonly #steps: { readonly what: string; readonly undo: () => Promise<void> }[] = [];

  /** @param what completes "could not …", as in `unmount /mnt` */
  add(what: string, undo: () => Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  /** Undoes all, each step also if one before it failed. @returns what could not be done */
  async run(): Promise<string[]> {
    const failures: string[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        failures.push(`could not ${step.what}: ${messageOf(error)}`);
      }
    }
    return failures;
  }
}
