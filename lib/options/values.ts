/**
 * What option values look like: one parser per kind of value, text in, checked value out.
 *
 * A parser throws an OptionValueError whose message completes the sentence `--name: …`; it says
 * what is wrong and shows a right value. It repeats the text only where that cannot hold a secret.
 */
import { findAccount, idOf, primaryGroupOf } from '../host/accounts.js';
import type { AccountDatabase, UserAccount } from '../host/accounts.js';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { nearest } from './nearest.js';

/** A value is not what its option takes. */
export class OptionValueError extends Error {
  override readonly name = 'OptionValueError';
}

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  m: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  g: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  t: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};

/**
 * A size in bytes: `8MiB`, `8M` (the same), `8MB` (8,000,000), `1.5GiB`, `65536`.
 * @throws OptionValueError also above 2^53 - 1
 */
export function parseSize(text: string): number {
  const bytes = scaled(text, sizeUnits);
  if (bytes === undefined) {
    throw new OptionValueError(
      `${quote(text)} is not a size; write a number with KiB, MiB, GiB or TiB, such as 8MiB`,
    );
  }
  return bytes;
}

const timeUnits: Readonly<Record<string, number>> = {
  '': 1000,
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * A time span in milliseconds: `500ms`, `5s`, `2m`, `1h`, `1d`; a bare number counts seconds.
 * @throws OptionValueError
 */
export function parseTime(text: string): number {
  const ms = scaled(text, timeUnits);
  if (ms === undefined) {
    throw new OptionValueError(
      `${quote(text)} is not a time; write a number with ms, s, m, h or d, such as 5s`,
    );
  }
  return ms;
}

/** `text` as number times unit, rounded to a whole; undefined where it is not of that form. */
function scaled(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
  const unit = units[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || unit === undefined) return undefined;
  const value = Math.round(Number(match[1]) * unit);
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * The same parser, for values from `least` to `most` only; `show` writes the bounds for people.
 */
export function within(
  parse: (text: string) => number,
  { least = 0, most = Infinity, show }: { least?: number; most?: number; show: Show },
): (text: string) => number {
  return (text) => {
    const value = parse(text);
    if (value < least) throw new OptionValueError(`${quote(text)} is below ${show(least)}`);
    if (value > most) throw new OptionValueError(`${quote(text)} is above ${show(most)}`);
    return value;
  };
}

type Show = (value: number) => string;

/** Bytes as people write them: `8MiB`. */
export function showSize(bytes: number): string {
  for (const [unit, size] of [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${Number((bytes / size).toFixed(2))}${unit}`;
  }
  return `${bytes}B`;
}

/** Milliseconds as people write them: `5s`, `250ms`. */
export function showTime(ms: number): string {
  if (ms >= 60_000 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms >= 1000 ? `${ms / 1000}s` : `${ms}ms`;
}

/** A whole number. */
export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) {
    throw new OptionValueError(`${quote(text)} is not a whole number`);
  }
  return Number(text);
}

/** Permission bits in octal, as chmod(1) takes them: `0644`, `755`. */
export function parseMode(text: string): number {
  if (!/^(0o?)?[0-7]{3}$/i.test(text)) {
    throw new OptionValueError(
      `${quote(text)} is not a mode; write three octal digits, such as 0644`,
    );
  }
  return Number.parseInt(text.slice(-3), 8);
}

const flagWords: Readonly<Record<string, boolean>> = {
  1: true,
  yes: true,
  true: true,
  on: true,
  0: false,
  no: false,
  false: false,
  off: false,
};

/** A switch with a value, as environment variables have it: yes, no, true, false, on, off, 1, 0. */
export function parseFlag(text: string): boolean {
  const value = flagWords[text.toLowerCase()];
  if (value === undefined) {
    throw new OptionValueError(`${quote(text)} is neither yes nor no`);
  }
  return value;
}

/** One of a closed list of words. */
export function oneOf<Word extends string>(
  words: readonly Word[],
): ((text: string) => Word) & Choice {
  const parse = (text: string): Word => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    const meant = nearest(text.toLowerCase(), words);
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    throw new OptionValueError(`${quote(text)} is not one of ${words.join(', ')}${hint}`);
  };
  return Object.assign(parse, { words });
}

/** What takes one of some words. */
export interface Choice {
  readonly words: readonly string[];
}

/** The words that a parser takes; undefined where they cannot be counted. */
export function wordsOf(parse: (text: string) => unknown): readonly string[] | undefined {
  return 'words' in parse ? (parse as unknown as Choice).words : undefined;
}

/** Any text of a given form; `what` completes "is not …". */
export function matching(form: RegExp, what: string): (text: string) => string {
  return (text) => {
    if (!form.test(text)) throw new OptionValueError(`${quote(text)} is not ${what}`);
    return text;
  };
}

/** A path of this machine, made absolute at once because a background mount leaves the directory. */
export function parseFilePath(text: string): string {
  if (text === '' || text.includes('\0')) throw new OptionValueError('needs a path');
  return resolve(text);
}

/** The same for several, with colons between them as in PATH. */
export function parseFilePaths(text: string): readonly string[] {
  return text.split(':').map(parseFilePath);
}

/** Words for a shell. */
export function parseCommand(text: string): string {
  if (text.trim() === '' || text.includes('\0')) throw new OptionValueError('needs a command');
  return text;
}

/**
 * The URL of an S3 endpoint. The text is never repeated: people put keys into it.
 */
export function parseEndpointUrl(text: string): string {
  const example = 'write it as https://HOST or http://HOST:PORT';
  if (!URL.canParse(text)) throw new OptionValueError(`is not a URL; ${example}`);
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new OptionValueError(`has to start with https:// or http://; ${example}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new OptionValueError(
      `holds a user name or key; keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ` +
        `~/.aws/credentials or S3JAIL_SOURCE; ${example}`,
    );
  }
  if (url.search !== '' || url.hash !== '') {
    throw new OptionValueError(`holds a query or fragment; ${example}`);
  }
  return text.replace(/\/+$/, '');
}

/** Numeric ids stop below 2^32 - 1, which chown(2) reads as "leave it". */
const maxId = 0xffff_fffe;

/** The id of a user given by name or number. @throws OptionValueError for a name nobody has */
export function parseUser(text: string): number {
  return parseId(text, 'passwd', 'user');
}

/** The id of a group given by name or number. @throws OptionValueError for a name nobody has */
export function parseGroup(text: string): number {
  return parseId(text, 'group', 'group');
}

function parseId(text: string, database: AccountDatabase, what: string): number {
  if (/^\d+$/.test(text)) {
    const id = Number(text);
    if (id > maxId) throw new OptionValueError(`${text} is above the largest id, ${maxId}`);
    return id;
  }
  const id = known(text, () => idOf(database, text));
  if (id === undefined) {
    throw new OptionValueError(`there is no ${what} ${quote(text)} on this machine`);
  }
  return id;
}

/** The account of a user given by name or number. @throws OptionValueError where there is none */
export function parseAccount(text: string): UserAccount {
  const account = known(text, () => findAccount(text));
  if (account === undefined) {
    throw new OptionValueError(`there is no user ${quote(text)} on this machine`);
  }
  return account;
}

/** The primary group of a user id, or undefined for an id that no account has. @throws OptionValueError */
export function parsePrimaryGroup(uid: number): number | undefined {
  return known(String(uid), () => primaryGroupOf(uid));
}

/** Asks the host's user database. @throws OptionValueError where that fails */
function known<T>(text: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new OptionValueError(`${what} while looking for ${quote(text)}`);
  }
}

/** Text of unknown origin as messages show it: quoted, escaped, cut. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
}

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * `PORT` on this machine alone, or `HOST:PORT` with the address of an interface, `[…]` around IPv6.
 * Port 0 is any free one.
 * @throws OptionValueError
 */
export function parseAddress(text: string): Address {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  const host = match?.[1] ?? match?.[2] ?? '127.0.0.1';
  const isAddress = isIP(host) !== 0 || host === 'localhost';
  if (!isAddress || !(port <= 65_535)) {
    throw new OptionValueError(
      `${quote(text)} is not an address to listen on; write PORT, 127.0.0.1:PORT or [::1]:PORT`,
    );
  }
  return { host, port };
}
