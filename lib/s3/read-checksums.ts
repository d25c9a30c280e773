/**
 * Asking for the checksum that S3 keeps of an object, with the HEAD or the whole GET that is sent
 * anyway.
 *
 * It is asked for below the SDK's commands and not by their own field, on which the SDK would verify
 * the body itself: it cannot go on where a connection broke. A range has no checksum. Some endpoints
 * refuse the header (Backblaze B2), and for an object encrypted by KMS it takes kms:Decrypt (S3 API,
 * HeadObject), which somebody who only writes may lack; a refusal is remembered once the same request
 * without the header has gone through.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import type { HttpRequest } from '@smithy/types';

import { errorFacts, kindOf } from './s3-errors.js';

const header = 'x-amz-checksum-mode';

export class ReadChecksums {
  #state: 'answered' | 'refused' | undefined;

  /** Whether S3 may be asked; true until it has refused. */
  get areAsked(): boolean {
    return this.#state !== 'refused';
  }

  /** Makes a client ask. */
  attach(client: S3Client): void {
    client.middlewareStack.add(
      (next, context) => async (args) => {
        const { headers } = args.request as HttpRequest;
        const command = context['commandName'];
        const isHead = command === 'HeadObjectCommand';
        const isWhole = command === 'GetObjectCommand' && !('range' in headers);
        if (!this.areAsked || (!isHead && !isWhole)) return await next(args);
        headers[header] = 'ENABLED';
        try {
          const answer = await next(args);
          this.#state = 'answered';
          return answer;
        } catch (error) {
          if (this.#state === 'answered' || !isRefusal(error, isHead)) throw error;
          // Setting it to undefined would send the word.
          Reflect.deleteProperty(headers, header);
        }
        const answer = await next(args);
        this.#state = 'refused';
        return answer;
      },
      { name: 's3jailReadChecksums', step: 'build', priority: 'low' },
    );
  }
}

function isRefusal(error: unknown, isHead: boolean): boolean {
  const kind = kindOf(errorFacts(error));
  // Without ListBucket an absent key is a 403 as well.
  return kind === 'unsupported' || kind === 'invalid' || (isHead && kind === 'denied');
}
