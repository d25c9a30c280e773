/**
 * Whether the endpoint keeps the conditions of conditional writes, found out rather than assumed.
 *
 * AWS does. Others ignore If-Match or If-None-Match on some requests without a word and overwrite
 * what they should have protected, and some refuse If-Match even where it holds (Ceph before 18). So
 * before the first conditional write of each sort to an endpoint that is not AWS's, the sort is
 * tried on a scratch object under the prefix: `.s3jail-probe-…`, empty, gone right afterwards.
 * Where a condition is not kept, the caller asks by HEAD first, which leaves a gap between question
 * and write; the log says so once. That is tried again after a while (limitation.ts), and an answer
 * that proves nothing tells nothing.
 */
import { createHash } from 'node:crypto';

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';

import { StoreError, isStoreError } from '../errors.js';
import { Limitation } from '../limitation.js';
import type { Key } from '../path.js';
import type { Condition, ETag, WriteOptions } from '../store.js';
import type { Connection } from './connection/connection.js';
import { copySource } from './copy-source.js';
import { scratchKey, withScratch } from './scratch-object.js';
import type { DeleteRight } from './delete-right.js';
import { unproven } from './evidence.js';
import type { Evidence } from './evidence.js';
import { entityTag } from './object-info.js';
import { newObjectInput } from './write-input.js';
import type { NewObjectInput } from './write-input.js';

/** Requests that take conditions on what their target holds. */
export const conditionalActions = ['PutObject', 'CompleteMultipartUpload', 'CopyObject'] as const;
export type ConditionalAction = (typeof conditionalActions)[number];

/** Headers for a condition. */
export interface ConditionInput {
  readonly IfMatch?: string;
  readonly IfNoneMatch?: string;
}

/** Which conditions an endpoint keeps. */
export interface Kept {
  /** If-None-Match: * */
  readonly absent: boolean;
  /** If-Match */
  readonly etag: boolean;
}

/** An ETag that no object has. */
const noSuchTag = '"00000000000000000000000000000000"' as ETag;

function conditionInput(condition: Condition | undefined): ConditionInput {
  if (condition === undefined) return {};
  return 'absent' in condition ? { IfNoneMatch: '*' } : { IfMatch: condition.etag };
}

export class ConditionalWrites {
  readonly #connection: Connection;
  readonly #evidence: Evidence;
  readonly #deletes: DeleteRight;
  readonly #known = new Map<ConditionalAction, Promise<Kept>>();
  readonly #found = new Map<ConditionalAction, Kept>();
  readonly #notKept: ReadonlyMap<ConditionalAction, Limitation>;
  #keepsDeletes: boolean | undefined;

  /** @param told what the answers to the tries prove */
  constructor(connection: Connection, told: { evidence: Evidence; deletes: DeleteRight }) {
    this.#connection = connection;
    this.#evidence = told.evidence;
    this.#deletes = told.deletes;
    const { clock } = connection.options;
    this.#notKept = new Map(conditionalActions.map((action) => [action, new Limitation(clock)]));
  }

  /**
   * Whether If-Match of DeleteObject is kept. MinIO deletes whatever it says. Undefined before a scratch
   * object was there to try it.
   */
  get keepsDeletes(): boolean | undefined {
    return this.#connection.isAws || this.#keepsDeletes;
  }

  /** What is known so far, in words. */
  describe(action: ConditionalAction): string {
    if (this.#connection.isAws) return 'kept';
    const found = this.#found.get(action);
    if (found === undefined) return 'not tried yet';
    if (found.absent && found.etag) return 'kept';
    if (!found.absent && !found.etag) return 'not kept';
    return found.absent ? 'If-None-Match only' : 'If-Match only';
  }

  /**
   * The headers for a condition; none where the endpoint would not keep them, and then the object is
   * looked at now.
   * @throws StoreError `changed` where the condition is found not to hold
   */
  async prepare(
    action: ConditionalAction,
    key: Key,
    options: Pick<WriteOptions, 'condition' | 'signal'>,
  ): Promise<ConditionInput> {
    const { condition, signal } = options;
    if (condition === undefined) return {};
    if (await this.keeps(action, condition)) return conditionInput(condition);
    if (!(await this.#holds(key, condition, signal))) throw conditionFailed(action, key);
    return {};
  }

  /**
   * Whether the endpoint refuses `action` where `condition` does not hold, and lets it pass where it
   * does. The first question for an action may cost some requests; a question that could not be
   * answered (no permission, no connection) is answered no and asked again next time.
   */
  async keeps(action: ConditionalAction, condition: Condition): Promise<boolean> {
    if (this.#connection.isAws) return true;
    let known = this.#known.get(action);
    const notKept = this.#notKept.get(action);
    const isDue = notKept?.isSuspected === true && !notKept.holds;
    if (known === undefined || isDue) {
      // One asks again; the others wait for it.
      if (isDue) notKept.note();
      known = this.#probe(action);
      this.#known.set(action, known);
    }
    try {
      const kept = await known;
      return 'absent' in condition ? kept.absent : kept.etag;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.#known.delete(action);
      this.#connection.log.debug({ action, error: error.message }, 'cannot try conditional writes');
      return false;
    }
  }

  async #holds(key: Key, condition: Condition, signal?: AbortSignal): Promise<boolean> {
    try {
      const command = new HeadObjectCommand(this.#connection.at(key));
      const found = await this.#connection.send(command, { key, signal, isPatient: true });
      return 'etag' in condition && condition.etag === entityTag(found.ETag);
    } catch (error) {
      if (isStoreError(error, 'notFound')) return 'absent' in condition;
      throw error;
    }
  }

  /** A policy may refuse what is not in this class, or not encrypted this way. */
  get #written(): NewObjectInput {
    return newObjectInput(this.#connection.options, {});
  }

  async #probe(action: ConditionalAction): Promise<Kept> {
    const scratch = scratchKey();
    const at = this.#connection.at(scratch);
    return await withScratch(this.#connection, scratch, {
      work: async () => {
        const made = await this.#connection.send(
          new PutObjectCommand({ ...at, ...this.#written, ...summed(Buffer.alloc(0)) }),
        );
        const proven = this.#evidence.put(made, { body: Buffer.alloc(0), crc32: 0 });
        const etag = entityTag(made.ETag) ?? noSuchTag;
        const kept = await this.#tries(action, at, { etag, isProven: proven !== undefined });
        this.#report(action, kept);
        return kept;
      },
      remove: () =>
        this.#deletes.noted(scratch, async () => {
          await this.#tryDelete(at);
          await this.#connection.send(new DeleteObjectCommand(at));
        }),
    });
  }

  /** Of a scratch object alone: on an endpoint that does not look at the condition it is gone then. */
  async #tryDelete(at: ScratchInput): Promise<void> {
    if (this.#keepsDeletes === true) return;
    const remove = this.#connection.send(new DeleteObjectCommand({ ...at, IfMatch: noSuchTag }));
    this.#keepsDeletes = (await outcome(remove)) === 'refused';
  }

  /** @param made.isProven the answer to the PUT proved it, so that one that does not is not S3's */
  async #tries(
    action: ConditionalAction,
    at: ScratchInput,
    { etag, isProven }: { etag: string; isProven: boolean },
  ): Promise<Kept> {
    if (action === 'CompleteMultipartUpload') return await this.#triesOfComplete(at, etag);
    const write = async (condition: ConditionInput): Promise<Outcome> =>
      action === 'PutObject'
        ? await outcome(
            this.#connection
              .send(
                new PutObjectCommand({
                  ...at,
                  ...this.#written,
                  ...condition,
                  ...summed(Buffer.alloc(0)),
                }),
              )
              .then((output) => {
                const proven = this.#evidence.put(output, { body: Buffer.alloc(0), crc32: 0 });
                if (isProven && proven === undefined) throw unproven(action, at.Key as Key);
              }),
          )
        : await outcome(this.#connection.send(copyToSelf({ ...at, ...this.#written }, condition)));
    const absent = (await write({ IfNoneMatch: '*' })) === 'refused';
    const other = (await write({ IfMatch: noSuchTag })) === 'refused';
    return { absent, etag: other && (await write({ IfMatch: etag })) === 'done' };
  }

  async #triesOfComplete(at: ScratchInput, etag: string): Promise<Kept> {
    const connection = this.#connection;
    const created = await connection.send(
      new CreateMultipartUploadCommand({ ...at, ...this.#written }),
    );
    const upload = { ...at, UploadId: created.UploadId };
    const part = await connection.send(
      new UploadPartCommand({ ...upload, PartNumber: 1, ...summed(Buffer.alloc(1)) }),
    );
    const parts = [{ PartNumber: 1, ETag: part.ETag }];
    const tag = entityTag(part.ETag) ?? noSuchTag;
    const write = async (condition: ConditionInput): Promise<Outcome> => {
      const complete = new CompleteMultipartUploadCommand({
        ...upload,
        ...condition,
        MultipartUpload: { Parts: parts },
      });
      return await outcome(
        connection
          .send(complete)
          .then((output) => this.#evidence.complete(output, { parts: [{ etag: tag }] })),
      );
    };
    try {
      // Once one of them is done the upload is gone, and the rest is taken as not kept either.
      if ((await write({ IfNoneMatch: '*' })) !== 'refused') return { absent: false, etag: false };
      if ((await write({ IfMatch: noSuchTag })) !== 'refused') return { absent: true, etag: false };
      return { absent: true, etag: (await write({ IfMatch: etag })) === 'done' };
    } finally {
      await connection.send(new AbortMultipartUploadCommand(upload)).catch((error: unknown) => {
        // noUpload: completed by one of the tries. Of the rest, an upload of one byte may stay.
        if (!isStoreError(error)) throw error;
      });
    }
  }

  #report(action: ConditionalAction, kept: Kept): void {
    this.#found.set(action, kept);
    const notKept = this.#notKept.get(action);
    if (kept.absent && kept.etag) notKept?.lift();
    else if (notKept?.note() === true) this.#warn(action, kept);
  }

  #warn(action: ConditionalAction, kept: Kept): void {
    this.#connection.log.warn(
      { action, ifNoneMatch: kept.absent, ifMatch: kept.etag },
      `${this.#connection.place} does not keep the conditions of ${action}: s3jail looks before it ` +
        'writes, but another writer in between is not noticed',
    );
  }
}

/** Object Lock demands a checksum with every body (S3 user guide, "Object Lock considerations"). */
function summed(body: Buffer): { Body: Buffer; ContentMD5: string } {
  return { Body: body, ContentMD5: createHash('md5').update(body).digest('base64') };
}

type ScratchInput = ReturnType<Connection['at']>;

type Outcome = 'done' | 'refused' | 'unknown';

async function outcome(write: Promise<unknown>): Promise<Outcome> {
  try {
    await write;
    return 'done';
  } catch (error) {
    // notFound: how AWS refuses If-Match on a missing key.
    if (isStoreError(error, 'changed', 'notFound')) return 'refused';
    // The endpoint does not know the header, or not there.
    if (isStoreError(error, 'unsupported', 'invalid')) return 'unknown';
    throw error;
  }
}

/** A copy onto itself is only allowed with other metadata. */
function copyToSelf(at: ScratchInput, condition: ConditionInput): CopyObjectCommand {
  return new CopyObjectCommand({
    ...at,
    ...condition,
    CopySource: copySource(at.Bucket, at.Key),
    MetadataDirective: 'REPLACE',
    Metadata: { probe: '1' },
  });
}

/** The rejection of a write whose condition was found not to hold. */
export function conditionFailed(action: string, key: string, cause?: unknown): StoreError {
  return new StoreError(
    'changed',
    `${action} ${JSON.stringify(key)}: the object is not the one expected`,
    { action, key, cause },
  );
}
