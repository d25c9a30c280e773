/** Waiting for what has to come. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until `isSo` says yes, however long that takes; the test's own limit ends a wait for nothing. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(10);
}
