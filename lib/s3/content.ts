/**
 * Content that is pushed, and those who would rather pull.
 *
 * A sink takes bytes where they lie; a promise and a copy for each piece is what an iterable costs, so
 * that is for contents of a few bytes.
 */
import type { Readable } from 'node:stream';

import type { Sink } from '../store.js';
import { LentBody } from './wire/lent-body.js';

/** All bytes of a body, in order. @throws what the sink threw; what the connection broke with */
export async function pour(body: Readable, sink: Sink): Promise<void> {
  if (body instanceof LentBody) {
    await body.drain(sink);
    return;
  }
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    const room = sink(piece);
    if (room !== undefined) await room;
  }
}

/** Knows afterwards whether it was the sink that failed. */
export class Taker {
  readonly #sink: Sink;
  #hasFailed = false;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  take(bytes: Uint8Array): Promise<void> | undefined {
    try {
      return this.#sink(bytes)?.catch((error: unknown) => this.#fail(error));
    } catch (error) {
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    this.#hasFailed = true;
    throw error;
  }
}

/**
 * What `drain` pushes, one piece at a time.
 * @param leave called where the reader wants no more; `drain` then ends, by whatever failure
 */
export async function* pull(
  drain: (sink: Sink) => Promise<void>,
  leave: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const come: { piece?: Uint8Array; outcome?: { readonly error?: unknown } } = {};
  let isLeft = false;
  let wake: () => void = () => undefined;
  let makeRoom: () => void = () => undefined;
  const end = (how: { readonly error?: unknown }): void => {
    come.outcome = how;
    wake();
  };
  const sink: Sink = (bytes) => {
    if (isLeft) throw new Error('the reader has left');
    come.piece = Buffer.from(bytes);
    wake();
    return new Promise((resolve) => {
      makeRoom = resolve;
    });
  };
  drain(sink).then(
    () => end({}),
    (error: unknown) => end({ error }),
  );
  try {
    for (;;) {
      const { piece, outcome } = come;
      if (piece !== undefined) {
        delete come.piece;
        yield piece;
        makeRoom();
      } else if (outcome === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if ('error' in outcome) {
        throw outcome.error;
      } else {
        return;
      }
    }
  } finally {
    isLeft = true;
    leave();
    makeRoom();
  }
}
