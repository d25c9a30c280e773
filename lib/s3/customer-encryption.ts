/**
 * Whether the endpoint knows SSE-C at all. One that does not (versitygw) ignores the key without a word
 * and stores what it should have encrypted. So before the first write to an endpoint that is not AWS's a
 * scratch object is written, empty, unless an answer has named the key already, and nothing else is
 * where the answer to that does not.
 */
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';

import { StoreError } from '../errors.js';
import type { Connection } from './connection/connection.js';
import type { DeleteRight } from './delete-right.js';
import { scratchKey, withScratch } from './scratch-object.js';
import { newObjectInput } from './write-input.js';

export class CustomerEncryption {
  readonly #connection: Connection;
  readonly #deletes: DeleteRight;
  #trial: Promise<void> | undefined;

  constructor(connection: Connection, deletes: DeleteRight) {
    this.#connection = connection;
    this.#deletes = deletes;
  }

  /** Before a write. @throws StoreError `unsupported` where it would not be encrypted */
  async require(): Promise<void> {
    if (this.#isKnown()) return;
    this.#trial ??= this.#try().finally(() => (this.#trial = undefined));
    await this.#trial;
    if (this.#isKnown()) return;
    const action = 'PutObject';
    const what = `${this.#connection.place} does not encrypt with the key of --sse-c-key-file (SSE-C)`;
    throw new StoreError('unsupported', `${action}: ${what}; nothing is stored there`, { action });
  }

  #isKnown(): boolean {
    const { customerKeys, isAws } = this.#connection;
    return customerKeys === undefined || isAws || customerKeys.isTaken;
  }

  async #try(): Promise<void> {
    const scratch = scratchKey();
    const connection = this.#connection;
    const at = connection.at(scratch);
    await withScratch(connection, scratch, {
      work: async () => {
        const fields = newObjectInput(connection.options, {});
        await connection.send(new PutObjectCommand({ ...at, ...fields, Body: Buffer.alloc(0) }));
      },
      remove: () =>
        this.#deletes.noted(scratch, async () => {
          await connection.send(new DeleteObjectCommand(at));
        }),
    });
  }
}
