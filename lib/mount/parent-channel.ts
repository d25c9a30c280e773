/**
 * What a mount in the background tells the command that started it, over Node's IPC channel: that
 * it is usable, or why it is not. Without such a parent, nothing.
 */
import type { ExitCode } from '../host/failure.js';

export type ChildMessage =
  | { readonly kind: 'mounted'; readonly notices: readonly string[] }
  | {
      readonly kind: 'failed';
      readonly lines: readonly string[];
      readonly exitCode: Exclude<ExitCode, 0>;
    };

/** Whether a parent waits to hear how the mount went. */
export function hasParent(): boolean {
  return process.send !== undefined && process.connected;
}

/** Resolves when the message is with the kernel, so that the process may exit. */
export function reportToParent(message: ChildMessage): Promise<void> {
  return new Promise((done) => {
    if (process.send === undefined || !process.connected) {
      done();
      return;
    }
    // A parent that is gone hears nothing, and there is nobody else to tell.
    process.send(message, undefined, undefined, () => done());
  });
}

/** A message of the child, checked; undefined for anything else. */
export function parseChildMessage(value: unknown): ChildMessage | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'mounted' && 'notices' in value && areStrings(value.notices)) {
    return { kind: 'mounted', notices: value.notices };
  }
  if (value.kind !== 'failed' || !('lines' in value) || !('exitCode' in value)) return undefined;
  const { lines, exitCode } = value;
  if (!areStrings(lines) || (exitCode !== 1 && exitCode !== 2 && exitCode !== 32)) return undefined;
  return { kind: 'failed', lines, exitCode };
}

function areStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
