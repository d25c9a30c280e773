/**
 * Everything a mount does to objects, tried on scratch objects below the prefix: `.s3jail-check-…/`,
 * a few bytes each, removed again at the end; what only reads is tried on an object that is there.
 * Goes through the store, so that what a mount would step around is stepped around here too.
 */
import { randomBytes } from 'node:crypto';
import { isStoreError, StoreError, type StoreErrorKind } from '../errors.js';
import type { Key } from '../path.js';
import { conditionalActions } from '../s3/conditional-writes.js';
import type { S3Store } from '../s3/s3-store.js';
import type { UploadRecord } from '../s3/upload-journal.js';
import { PartsRefused } from '../part-rules.js';
import { multipartLimits } from '../store.js';
import type { CopySource, ETag, ObjectInfo } from '../store.js';
import type { Findings } from './findings.js';

const content = Buffer.from('s3jail check: this object may be removed\n');
/** S3 copies ranges of objects over 5 MiB only, and takes no shorter part but the last. */
const base = Buffer.alloc(multipartLimits.minPart + 1024, content);

/** What MinIO does. */
const hiding = 'this service hides all that is below the name of an object';

const cures: Partial<Record<StoreErrorKind, string>> = {
  aborted: 'try again, and check the network and the service',
  full: 'make room or raise the quota',
  throttled: 'try again later, or ask for a higher request rate',
  unavailable: 'try again, and check the network and the service',
  unsupported: 'the service cannot do this',
};

export class BucketTrial {
  readonly #store: S3Store;
  readonly #findings: Findings;
  readonly #hasKey: boolean;
  readonly #scratch = `.s3jail-check-${randomBytes(8).toString('hex')}`;
  readonly #record: UploadRecord | undefined;
  /** keys that may exist now, and what to call once they do not */
  readonly #made = new Map<Key, () => void>();

  /**
   * @param settings.hasKey objects are encrypted with a KMS key that the mount names
   * @param settings.record keeps what is made until it is gone
   */
  constructor(
    store: S3Store,
    findings: Findings,
    { hasKey, record }: { hasKey: boolean; record?: UploadRecord | undefined },
  ) {
    this.#store = store;
    this.#findings = findings;
    this.#hasKey = hasKey;
    this.#record = record;
  }

  /** Tries all of it; without the first object there is nothing to go on with. */
  async run(): Promise<void> {
    this.#tellArchived(await this.#firstPage());
    const source = await this.#put();
    if (source === undefined) return;
    const mayRead = await this.#get(source);
    if (mayRead === true) await this.#versions(source);
    await this.#copy(source);
    await this.#multipart();
    await this.#append();
    await this.#abort();
    if (mayRead === true) await this.#conditions();
    else this.#findings.warn('conditional writes', 'not tried: what was stored cannot be read');
    await this.#names();
    await this.#delete();
  }

  /** Tries what a read-only mount does, as far as there is something to read. */
  async readOnly(): Promise<void> {
    const objects = await this.#firstPage();
    this.#tellArchived(objects);
    const first = objects.find(({ archived }) => archived !== true)?.key;
    if (first === undefined) {
      this.#findings.ok('get', `not tried: nothing to read was found below ${this.#store.url}`);
      return;
    }
    await this.#attempt('get', this.#with('s3:GetObject', 'kms:Decrypt'), async () => {
      const { size } = await this.#store.head(first);
      if (size === 0) return;
      const { body } = await this.#store.get(first, { range: { start: 0, end: 1 } });
      let bytes = 0;
      for await (const piece of body) bytes += piece.length;
      if (bytes === 1) return;
      const fault = { action: 'GetObject', key: first };
      throw new StoreError('corrupt', 'other bytes came back', fault);
    });
  }

  async #firstPage(): Promise<readonly ObjectInfo[]> {
    try {
      const all = { prefix: '' as Key, oneLevel: false, maxKeys: 1000 };
      return (await this.#store.list(all)).objects;
    } catch (error) {
      // Told already by whoever asked after the bucket.
      if (isStoreError(error)) return [];
      throw error;
    }
  }

  async #put(): Promise<CopySource | undefined> {
    const key = this.#key('object');
    return await this.#attempt(
      'put',
      this.#with('s3:PutObject', 'kms:GenerateDataKey'),
      async () => {
        const { etag } = await this.#store.put(key, [content]);
        return { key, etag, size: content.length };
      },
    );
  }

  /** @returns whether what was stored came back */
  async #get({ key, etag }: CopySource): Promise<boolean | undefined> {
    return await this.#attempt('get', this.#with('s3:GetObject', 'kms:Decrypt'), async () => {
      await this.#store.head(key);
      if (content.equals(await this.#read(key, etag))) return true;
      throw new StoreError('corrupt', 'other bytes came back', { action: 'GetObject', key });
    });
  }

  /** What an operator pays for, or has to get back what a user has deleted. */
  async #versions({ key }: CopySource): Promise<void> {
    const kept =
      'the bucket keeps versions: what is replaced or deleted stays there and is paid for until a ' +
      "lifecycle rule ends it (NoncurrentVersionExpiration), this check's own objects too";
    const gone = 'the bucket keeps none: what is replaced or deleted is gone';
    try {
      this.#findings.ok('versions', (await this.#store.keepsVersions(key)) ? kept : gone);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.#findings.warn('versions', `not known: ${error.message}`);
    }
  }

  #tellArchived(objects: readonly ObjectInfo[]): void {
    const archived = objects.filter((object) => object.archived === true);
    if (archived.length === 0) return;
    const classes = [...new Set(archived.map(({ storageClass }) => storageClass ?? 'archived'))];
    this.#findings.warn(
      'archive',
      `${archived.length} of the first ${objects.length} objects are in an archive class ` +
        `(${classes.join(', ')}): they are listed, but opening, appending to and renaming them fails ` +
        'with EIO until they are restored (aws s3api restore-object)',
    );
  }

  async #copy(source: CopySource): Promise<void> {
    await this.#attempt('copy (rename)', ['s3:GetObject', 's3:PutObject'], async () => {
      await this.#store.copy(source, this.#key('copy'));
    });
  }

  async #multipart(): Promise<void> {
    await this.#attempt('multipart upload', ['s3:PutObject'], async () => {
      const upload = await this.#store.createUpload(this.#key('parts'));
      const part = await this.#store.uploadPart(upload, 1, [content]);
      await this.#store.completeUpload(upload, [part]);
    });
  }

  /** As a file of parts is appended to or edited: a copied range beside a part that is uploaded. */
  async #append(): Promise<void> {
    const what = 'part copy (append)';
    const key = this.#key('appended');
    const wanted = Buffer.concat([base.subarray(0, multipartLimits.minPart), content]);
    const price =
      'a file that is appended to or edited is sent again as a whole: a line more in a file of 10 GB ' +
      'moves 10 GB each way';
    await this.#attempt(
      what,
      ['s3:GetObject', 's3:PutObject'],
      async () => {
        await this.#compose(key, 1);
        if (wanted.equals(await this.#read(key))) return;
        throw new StoreError('corrupt', 'other bytes came back', { action: 'GetObject', key });
      },
      price,
    );
  }

  /** @param tries how often the store may be asked for another way of checksums */
  async #compose(key: Key, tries: number): Promise<void> {
    const source = this.#key('base');
    const { etag } = await this.#store.put(source, [base]);
    const copied = { key: source, etag, size: base.length };
    const upload = await this.#store.createUpload(key);
    try {
      const range = { start: 0, end: multipartLimits.minPart };
      const parts = [
        await this.#store.copyPart(upload, 1, copied, range),
        await this.#store.uploadPart(upload, 2, [content]),
      ];
      await this.#store.completeUpload(upload, parts);
    } catch (error) {
      await this.#store.abortUpload(upload);
      const isOtherWay = error instanceof PartsRefused && error.remedies[0] === 'again';
      if (!isOtherWay || tries === 0) throw error;
      await this.#compose(key, tries - 1);
    }
  }

  async #read(key: Key, etag?: ETag): Promise<Buffer> {
    const { body } = await this.#store.get(key, etag === undefined ? {} : { ifMatch: etag });
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async #abort(): Promise<void> {
    const key = this.#key('given-up');
    await this.#attempt('abort of an upload', ['s3:AbortMultipartUpload'], async () => {
      await this.#store.abortUpload(await this.#store.createUpload(key));
    });
  }

  /** Services that keep objects in folders cannot tell all names apart that S3 can. */
  async #names(): Promise<void> {
    const what = 'names';
    const isHiding = await this.#hides();
    const above = isHiding ? await this.#store.objectAbove() : undefined;
    if (above !== undefined) {
      this.#findings.fail(
        what,
        `${above} is an object, and ${hiding}: the mount would be empty; remove it or rename it`,
      );
      return;
    }
    const limits = isHiding
      ? [`${hiding}: let no program store one that is named like a directory`]
      : [];
    if (await this.#mixesSlashes()) {
      limits.push('a backslash is taken for a slash: names with one are refused');
    }
    if (limits.length > 0) this.#findings.warn(what, limits.join('; '));
    else this.#findings.ok(what, 'objects are told apart by their whole names');
  }

  /** MinIO lists nothing below an object. */
  async #hides(): Promise<boolean> {
    const above = this.#key('above');
    const below = this.#key('above/below');
    try {
      await this.#store.put(above, [content]);
      await this.#store.put(below, [content]);
      const page = await this.#store.list({ prefix: `${above}/` as Key, oneLevel: false });
      return !page.objects.some(({ key }) => key === below);
    } catch (error) {
      // Refused: then nothing can be hidden.
      if (isStoreError(error)) return false;
      throw error;
    }
  }

  /** SeaweedFS does; the store refuses such names there, so nothing is made. */
  async #mixesSlashes(): Promise<boolean> {
    const key = this.#key('back\\slash');
    try {
      await this.#store.put(key, []);
      return false;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      if (error.kind !== 'badName') return false;
      this.#gone(key);
      return true;
    }
  }

  async #conditions(): Promise<void> {
    const what = 'conditional writes';
    const broken: string[] = [];
    for (const action of conditionalActions) {
      const { absent, etag } = await this.#store.keepsConditions(action);
      if (!absent || !etag) broken.push(action);
    }
    if (broken.length === 0) {
      this.#findings.ok(what, 'kept, so that no writer overwrites another unnoticed');
    } else {
      this.#findings.warn(
        what,
        `not kept by ${broken.join(', ')}: s3jail looks before it writes, but of two writers in the ` +
          'same instant one is lost; let only one host write to a prefix, or use a newer service',
      );
    }
  }

  async #delete(): Promise<void> {
    const left: Key[] = [];
    await this.#attempt('delete', ['s3:DeleteObject'], async () => {
      const failures: StoreError[] = [];
      for (const key of [...this.#made.keys()]) {
        try {
          await this.#store.delete(key);
          this.#gone(key);
        } catch (error) {
          if (!isStoreError(error)) throw error;
          left.push(key);
          failures.push(error);
        }
      }
      const [failure] = failures;
      if (failure !== undefined) throw failure;
    });
    for (const key of left) {
      this.#findings.warn('scratch object', `${this.#store.url}${key} is left behind; remove it`);
    }
  }

  #with(action: string, keyAction: string): readonly string[] {
    return this.#hasKey ? [action, keyAction] : [action];
  }

  #key(name: string): Key {
    const key = `${this.#scratch}/${name}` as Key;
    if (!this.#made.has(key)) {
      this.#made.set(key, this.#record?.beginning?.(key, 'scratch') ?? (() => undefined));
    }
    return key;
  }

  #gone(key: Key): void {
    this.#made.get(key)?.();
    this.#made.delete(key);
  }

  /**
   * @param price what a mount does without, where the service does not know it
   * @returns undefined where it failed, or what `task` gave
   */
  async #attempt<T>(
    what: string,
    actions: readonly string[],
    task: () => Promise<T>,
    price?: string,
  ): Promise<T | undefined> {
    try {
      const result = await task();
      this.#findings.ok(what, `works below ${this.#store.url}`);
      return result;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      if (price !== undefined && error.kind === 'unsupported') {
        this.#findings.warn(what, `${error.message}; ${price}`);
      } else this.#findings.fail(what, this.#explain(error, actions));
      return undefined;
    }
  }

  #explain(error: StoreError, actions: readonly string[]): string {
    const { url } = this.#store;
    if (error.kind === 'denied') {
      const isPut = actions.includes('s3:PutObject');
      const other = isPut ? ', or mount with --read-only where nothing is to be written' : '';
      return `${error.message}; allow ${actions.join(' and ')} for ${url}* (see s3jail policy)${other}`;
    }
    return `${error.message}; ${cures[error.kind] ?? 'check the service and --endpoint-url'}`;
  }
}
