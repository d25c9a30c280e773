/**
 * A page of a listing out of its XML (S3 API reference, ListObjectsV2 and ListObjects), read once from
 * front to back. The document has to be well-formed to its last byte: what was cut short would look
 * like the end of the listing. Document types are refused, and so is every entity but XML's own five.
 * Most are plain enough for plain-xml.ts; saxes reads the others, and says what is wrong with them.
 *
 * Text is kept as it is, white space included, because it may be a key. XML 1.0 has no control
 * characters, keys do, and servers that do not encode names write them all the same: those, as they
 * are or as references, are the one thing that is taken though XML forbids it.
 */
import type { ListObjectsV2CommandOutput, _Object } from '@aws-sdk/client-s3';
import { SaxesParser } from 'saxes';

import { readPlain } from './plain-xml.js';
import type { Elements } from './plain-xml.js';

type Listing = Omit<ListObjectsV2CommandOutput, '$metadata'> & { NextMarker?: string };

const root = 'ListBucketResult';
/** Characters of the document that are parsed at a time. */
const pieceChars = 64 * 1024;
/** A listing is three elements deep, and its root has one attribute: more is no listing, and memory. */
const most = { depth: 8, attributes: 100 };

/** @throws Error where it is no such document */
export function listDocument(document: Buffer): Listing {
  const text = document.toString();
  const plain = new Page();
  return readPlain(text, plain) ? plain.end() : parsed(text).end();
}

/** By a parser of whatever is XML. */
function parsed(document: string): Page {
  const parser = new SaxesParser({ position: false });
  const page = new Page();
  let attributes = 0;
  let text = '';
  /** the text has references that the parser left alone */
  let hasReferences = false;
  const take = (): string => {
    const taken = hasReferences ? resolved(text) : text;
    text = '';
    hasReferences = false;
    return taken;
  };
  parser.on('error', (error) => {
    if (error.message.endsWith('malformed character entity.')) hasReferences = true;
    else if (!error.message.endsWith('disallowed character.')) throw error;
  });
  parser.on('doctype', () => {
    throw new Error('a listing with a document type');
  });
  parser.on('attribute', () => {
    if (++attributes > most.attributes) throw new Error('a listing full of attributes');
  });
  parser.on('opentag', ({ name }) => {
    page.open(name);
    take();
  });
  parser.on('text', (piece) => (text += piece));
  parser.on('cdata', (piece) => (text += piece));
  parser.on('closetag', ({ name }) => page.close(name, take()));
  for (let at = 0; at < document.length; at += pieceChars) {
    parser.write(document.slice(at, at + pieceChars));
  }
  parser.close();
  return page;
}

/** What the elements of a document say. */
class Page implements Elements {
  readonly #page: Record<string, unknown> = {};
  readonly #contents: _Object[] = [];
  readonly #prefixes: { Prefix?: string }[] = [];
  /** names of the elements that are open */
  readonly #path: string[] = [];
  #entry: Record<string, string> = {};

  end(): Listing {
    const { IsTruncated, KeyCount, ...texts } = this.#page;
    return {
      ...texts,
      ...(IsTruncated === undefined ? {} : { IsTruncated: booleanOf(IsTruncated) }),
      ...(KeyCount === undefined ? {} : { KeyCount: Number(KeyCount) }),
      Contents: this.#contents,
      CommonPrefixes: this.#prefixes,
    };
  }

  open(name: string): void {
    if (this.#path.length === 0 && name !== root) throw new Error(`the answer is no ${root}`);
    if (this.#path.push(name) > most.depth) throw new Error('a listing too deep to be one');
    if (this.#path.length === 2) this.#entry = {};
  }

  close(name: string, text: string): void {
    this.#path.pop();
    const [, parent] = this.#path;
    const depth = this.#path.length;
    if (depth === 1 && name === 'Contents') this.#contents.push(objectOf(this.#entry));
    else if (depth === 1 && name === 'CommonPrefixes') this.#prefixes.push(this.#entry);
    else if (depth === 1) this.#page[name] = text;
    else if (parent === 'Contents' || parent === 'CommonPrefixes') this.#entry[name] = text;
  }
}

/** With the references to control characters replaced. @throws Error for others */
function resolved(text: string): string {
  return text.replaceAll(/&#(x?)([0-9a-f]+);/gi, (reference, hex: string, digits: string) => {
    const code = Number.parseInt(digits, hex === '' ? 10 : 16);
    if (code >= 0x20) throw new Error(`no character: ${reference}`);
    return String.fromCharCode(code);
  });
}

/** Values that make no sense are left out: what an entry does not tell is asked for by HEAD. */
function objectOf(entry: Readonly<Record<string, string>>): _Object {
  const { Key, ETag, Size = '', LastModified, StorageClass, RestoreExpiryDate } = entry;
  return {
    Key,
    ETag,
    Size: /^\d{1,16}$/.test(Size) ? Number(Size) : undefined,
    LastModified: timeOf(LastModified),
    StorageClass: StorageClass as _Object['StorageClass'],
    RestoreStatus:
      RestoreExpiryDate === undefined
        ? undefined
        : { RestoreExpiryDate: timeOf(RestoreExpiryDate) },
  };
}

/** With its zone, or the same text would be another time on another machine (RFC 3339). */
function timeOf(text = ''): Date | undefined {
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.test(text);
  const ms = isWhole ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : new Date(ms);
}

function booleanOf(text: unknown): boolean {
  if (text === 'true') return true;
  if (text === 'false') return false;
  throw new Error('a listing that neither ends nor goes on');
}
