/** Assertions about programs that were run. */
import type { Test } from 'tap';
import type { Ending } from '../../lib/demo/child.js';

/** It ended with status 0; where not, the report says why. */
export function succeeded(t: Test, ending: Ending, what: string): void {
  t.equal(ending.status, 0, ending.status === 0 ? what : `${what}: ${ending.stderr.trim()}`);
}

/** It ended with status 0 and had nothing to complain about. */
export function succeededQuietly(t: Test, ending: Ending, what: string): void {
  succeeded(t, ending, what);
  t.equal(ending.stderr, '', `${what} without complaint`);
}

/** It failed, and said this. */
export function failed(t: Test, ending: Ending, message: RegExp, what: string): void {
  t.not(ending.status, 0, what);
  t.match(ending.stderr, message, `${what} with that message`);
}
