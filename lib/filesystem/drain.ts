/**
 * Before a mount goes away: everything written is stored. Files that are still being written are
 * waited for; an idle one is stored as it is. Where uploads that are interrupted are held, it is held
 * instead, as are at last those that are still being written.
 */
import type { StagedFile } from '../write/staged-file.js';

/** A dirty file that nobody has written to for this long is idle. */
const idleAfterMs = 2000;

/**
 * @param work.dirty what is not stored now
 * @param work.atLast for what is left when that is given up
 * @param work.onProgress called about once a second while anything is left
 * @param work.signal gives up waiting
 * @returns paths that were not stored
 */
export async function drain(work: {
  readonly dirty: () => readonly StagedFile[];
  readonly store: (file: StagedFile) => Promise<void>;
  readonly atLast?: ((file: StagedFile) => Promise<void>) | undefined;
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}): Promise<string[]> {
  const { signal } = work;
  const failed = new Set<string>();
  for (;;) {
    const dirty = work.dirty();
    if (dirty.length === 0) return [...failed];
    if (signal.aborted) return [...failed, ...(await notKept(dirty, work.atLast))];
    work.onProgress();
    const idle = dirty.filter((file) => file.idleMs > idleAfterMs);
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

async function notKept(
  files: readonly StagedFile[],
  keep: ((file: StagedFile) => Promise<void>) | undefined,
): Promise<string[]> {
  if (keep === undefined) return files.map((file) => file.path);
  const ends = await Promise.allSettled(files.map(keep));
  return files.filter((_file, at) => ends[at]?.status === 'rejected').map((file) => file.path);
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
