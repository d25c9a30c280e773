/**
 * The region that requests are signed for, and sent to where it is AWS's: by option, environment or
 * profile, else where the bucket is found to be.
 *
 * S3 tells where a bucket is when it is asked for elsewhere (301, 307, or 400 with the right region;
 * S3 user guide, "Making requests", "Request redirection and the REST API"). It is believed once one
 * request was answered there, and until then everything else goes where it went: the SDK's own way
 * changes the region of its client while a request is under way, and two of them at a time leave it
 * changed, so that a burst of redirects from a broken gateway would end the mount. One request at a
 * time tries the other region, and the rest wait for what comes of it. Redirects to other hosts are
 * not followed: they come from login pages as often as from S3.
 */
import { unlessAborted } from '../../concurrency/abort.js';
import type { Log } from '../../log.js';
import { errorFacts, isElsewhere, kindOf } from './s3-errors.js';
import type { Sender } from './sender.js';

/** Region that AWS takes requests for buckets of any region in, if only to say which it is. */
export const fallbackRegion = 'us-east-1';

export interface RegionParts {
  /** by option */
  readonly region: string | undefined;
  /** by environment or profile */
  readonly defaultRegion: () => Promise<string | undefined>;
  /** for the usual region if none is given */
  readonly senderOf: (region?: string) => Sender;
  readonly log: Log;
}

export class BucketRegion {
  readonly #parts: RegionParts;
  #home: string | undefined;
  #found: string | undefined;
  /** whether the bucket is where it was said to be */
  #trial: Promise<boolean> | undefined;

  constructor(parts: RegionParts) {
    this.#parts = parts;
    this.#home = parts.region;
  }

  /** What it is, as far as it was asked for already. */
  get known(): string | undefined {
    return this.#found ?? this.#home;
  }

  async get(): Promise<string> {
    this.#home ??= (await this.#parts.defaultRegion()) ?? fallbackRegion;
    return this.#found ?? this.#home;
  }

  /** Everything goes to another region from now on. */
  moveTo(region: string): void {
    this.#home = region;
    this.#found = undefined;
  }

  /** Sends a request, and once more where the bucket is said to be. @throws what `send` throws */
  async follow<Output>(
    send: (sender: Sender) => Promise<Output>,
    signal: AbortSignal | undefined,
  ): Promise<Output> {
    const { senderOf } = this.#parts;
    const used = await this.get();
    try {
      return await send(senderOf());
    } catch (error) {
      const told = this.#otherRegion(error, used);
      if (told === undefined) throw error;
      if ((await this.get()) === used) {
        if (this.#trial === undefined) return await this.#try(told, send, error);
        if (!(await unlessAborted(this.#trial, signal))) throw error;
      }
      return await send(senderOf());
    }
  }

  /** Where else the bucket may be, after a refusal by `used`. */
  #otherRegion(error: unknown, used: string): string | undefined {
    const facts = errorFacts(error);
    const isAway = isElsewhere(facts);
    if (isAway && facts.region !== undefined && facts.region !== used) return facts.region;
    // Whoever told of another region may have been no S3, or a passing one.
    const isRefused = isAway || kindOf(facts) === 'denied';
    return isRefused && used !== this.#home ? this.#home : undefined;
  }

  async #try<Output>(
    region: string,
    send: (sender: Sender) => Promise<Output>,
    redirect: unknown,
  ): Promise<Output> {
    let end: (isThere: boolean) => void = () => undefined;
    this.#trial = new Promise((resolve) => (end = resolve));
    let isThere = false;
    try {
      const output = await send(this.#parts.senderOf(region));
      isThere = true;
      return output;
    } catch (error) {
      isThere = isAboutObject(error);
      throw isThere ? error : redirect;
    } finally {
      if (isThere) {
        this.#found = region;
        this.#parts.log.info({ region }, 'the bucket is in another region; requests go there now');
      }
      this.#trial = undefined;
      end(isThere);
    }
  }
}

/** A failure that only somebody who knows the bucket can tell. */
function isAboutObject(error: unknown): boolean {
  const kind = kindOf(errorFacts(error));
  return kind === 'notFound' || kind === 'changed' || kind === 'noUpload' || kind === 'archived';
}
