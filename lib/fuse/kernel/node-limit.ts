/**
 * Keeps the table of nodes from growing with the kernel's cache, which has the whole machine's memory:
 * asks it to drop what nobody uses, a batch at a time.
 */
import type { MountState } from './mount-state.js';

/** Some 40 MB of nodes. */
const nodesMaxDefault = 131_072;
const forgetBatch = 512;
const forgetPauseMs = 500;

export class NodeLimit {
  readonly #state: MountState;
  readonly #nodesMax: number;
  #isForgetting = false;

  /** @param nodesMax nodes known before the kernel is asked to forget */
  constructor(state: MountState, nodesMax = nodesMaxDefault) {
    this.#state = state;
    this.#nodesMax = nodesMax;
  }

  /** To be called after every request. */
  enforce(): void {
    const { nodes, notices } = this.#state;
    if (nodes.size <= this.#nodesMax || this.#isForgetting) return;
    this.#isForgetting = true;
    const batch = nodes.idleNodes(forgetBatch, { directories: notices.canPrune });
    // Where little was found, all is in use or asked for already.
    const pauseMs = batch.length < forgetBatch / 2 ? forgetPauseMs : 0;
    void notices.forget(batch).then(() => {
      setTimeout(() => (this.#isForgetting = false), pauseMs).unref();
    });
  }
}
