/**
 * The checksum that S3 keeps of an object: asking for it with the HEAD or the whole GET that is sent
 * anyway, and whether to believe it.
 *
 * It is asked for below the SDK's commands and not by their own field, on which the SDK would verify
 * the body itself: it cannot go on where a connection broke. A range has no checksum. Some endpoints
 * refuse the header (Backblaze B2); that is remembered once the same request without it has gone
 * through. A denial is none: for an object encrypted by KMS the header takes kms:Decrypt (S3 API,
 * HeadObject), and who lacks it may not read the object either.
 *
 * Some tell a checksum that is not the object's (gofakes3 for every multipart object), so off AWS one
 * of an own multipart upload is looked at, and nothing is compared where it differs.
 */
import type { HttpRequest } from '@smithy/types';

import type { Clock } from '../../clock.js';
import { Limitation } from '../../limitation.js';
import type { Key } from '../../path.js';
import type { ETag } from '../../store.js';
import { errorFacts, kindOf } from './s3-errors.js';
import type { CallStep } from './steps.js';
import type { ChecksumFields } from '../stored-checksum.js';

const header = 'x-amz-checksum-mode';

/** An object whose checksum is known for certain. */
export interface Sample {
  readonly key: Key;
  readonly etag: ETag;
  readonly crc32: number;
}

export class ReadChecksums {
  readonly #areWanted: boolean;
  readonly #refused: Limitation;
  /** asking without the header did not help a request that was refused with it */
  readonly #unhelpful: Limitation;
  readonly #wrong: Limitation;
  #wereAnswered = false;
  #wereRight = false;
  #sample: Sample | undefined;
  /** under way: nothing is believed meanwhile */
  comparison: Promise<void> | undefined;
  /** the last request with the header went through without it */
  #wasRefused = false;

  /** @param areWanted false: nothing that S3 tells is compared */
  constructor(areWanted: boolean, clock?: Clock) {
    this.#areWanted = areWanted;
    this.#refused = new Limitation(clock);
    this.#unhelpful = new Limitation(clock);
    this.#wrong = new Limitation(clock);
  }

  /** Whether what comes is compared, in words. */
  describe(): string {
    if (!this.#areWanted) return 'not asked for, as by option';
    if (this.#wrong.isSuspected) return 'wrong, and not compared';
    return this.#refused.isSuspected ? 'refused' : 'asked for';
  }

  /** A multipart upload of this process whose checksum was computed. */
  noteMade(sample: Sample): void {
    this.#sample = sample;
  }

  /** What to look at before a checksum is believed; undefined where it is known, or nothing is there. */
  takeSample(): Sample | undefined {
    const { holds, isSuspected } = this.#wrong;
    const isKnown = isSuspected ? holds : this.#wereRight;
    if (!this.#areWanted || isKnown) return undefined;
    const sample = this.#sample;
    this.#sample = undefined;
    return sample;
  }

  /** What was told of an object whose checksum is known. @returns whether it is news that it is wrong */
  noteTold(isRight: boolean): boolean {
    this.#wereRight = isRight;
    if (!isRight) return this.#wrong.note();
    this.#wrong.lift();
    return false;
  }

  /** An answer as far as its checksums are believed. */
  believed<Output extends ChecksumFields>(output: Output): Output {
    if (this.#areWanted && !this.#wrong.isSuspected) return output;
    const none = { ChecksumCRC32: undefined, ChecksumSHA1: undefined, ChecksumSHA256: undefined };
    return { ...output, ...none };
  }

  /** Asks. */
  readonly step: CallStep = (next, context) => async (args) => {
    const { headers } = args.request as HttpRequest;
    const command = context['commandName'];
    const isHead = command === 'HeadObjectCommand';
    const isWhole = command === 'GetObjectCommand' && !('range' in headers);
    const isAsked = this.#areWanted && !this.#refused.holds;
    if (!isAsked || (!isHead && !isWhole)) return await next(args);
    headers[header] = 'ENABLED';
    try {
      const answer = await next(args);
      this.#wereAnswered = true;
      this.#wasRefused = false;
      return answer;
    } catch (error) {
      if (!this.#mayBeRefusal(error)) throw error;
      // Setting it to undefined would send the word.
      Reflect.deleteProperty(headers, header);
    }
    try {
      const answer = await next(args);
      this.#noteRefused();
      return answer;
    } catch (error) {
      this.#unhelpful.note();
      throw error;
    }
  };

  /** From who has answered before, one refusal may have been about anything. */
  #noteRefused(): void {
    if (!this.#wereAnswered || this.#wasRefused) this.#refused.note();
    this.#wasRefused = true;
  }

  #mayBeRefusal(error: unknown): boolean {
    if (this.#wereAnswered && this.#unhelpful.holds) return false;
    const kind = kindOf(errorFacts(error));
    return kind === 'unsupported' || kind === 'invalid';
  }
}
