/**
 * Before a mount goes away: everything written is stored. Files that are still being written are
 * waited for; an idle one is stored as it is.
 */
import type { StagedFile } from '../write/staged-file.js';

/** A dirty file that nobody has written to for this long is idle. */
const idleMs = 2000;

/**
 * @param work.dirty what is not stored now
 * @param work.onProgress called about once a second while anything is left
 * @param work.signal gives up waiting
 * @returns paths that were not stored
 */
export async function drain(work: {
  readonly dirty: () => readonly StagedFile[];
  readonly store: (file: StagedFile) => Promise<void>;
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}): Promise<string[]> {
  const { signal } = work;
  const failed = new Set<string>();
  for (;;) {
    const dirty = work.dirty();
    if (dirty.length === 0) return [...failed];
    if (signal.aborted) return [...failed, ...dirty.map((file) => file.path)];
    work.onProgress();
    const idle = dirty.filter((file) => file.restedMs > idleMs);
    const stored = Promise.allSettled(
      idle.map(async (file) => {
        try {
          await work.store(file);
        } catch (error) {
          failed.add(file.path);
          throw error;
        }
      }),
    );
    await Promise.race([stored, aborted(signal, 1000)]);
    if (idle.length === 0) await aborted(signal, 500);
  }
}

async function aborted(signal: AbortSignal, timeoutMs: number): Promise<void> {
  if (signal.aborted) return;
  const timeout = AbortSignal.timeout(timeoutMs);
  await new Promise<void>((resolve) => {
    const done = (): void => {
      resolve();
    };
    AbortSignal.any([signal, timeout]).addEventListener('abort', done, { once: true });
  });
}
