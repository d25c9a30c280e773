/**
 * Paths, keys and the mapping between them: pure strings, no I/O.
 *
 * A *path* is what the client names (`/a/b`, `/` is the mount root); a *key* is relative to the
 * mount's prefix (`a/b`, the root is the empty key); a *marker* is the key of a directory's
 * zero-byte object (`a/b/`). Only the functions here make `Path` and `Key` values, so nothing that
 * was not checked can reach the store, and no key can lead outside the prefix: every key handed to
 * S3 is the prefix followed by a `Key`.
 */
import { FsError } from './errors.js';

declare const brand: unique symbol;
/** An absolute, normalised path inside the mount. */
export type Path = string & { readonly [brand]: 'Path' };
/** An object key relative to the prefix; ends in `/` for markers. */
export type Key = string & { readonly [brand]: 'Key' };

/** S3's limit for a whole key, in UTF-8 bytes (S3 user guide, "Object key names"). */
export const maxKeyBytes = 1024;
/** The longest name the kernel passes to FUSE (FUSE_NAME_MAX), in bytes. */
export const maxNameBytes = 1024;

export const rootPath = '/' as Path;

/**
 * Why a name cannot be one component of a path, or undefined where it can.
 * The same rule hides keys from listings and refuses names from clients.
 */
export function nameFault(name: string): 'EINVAL' | 'ENAMETOOLONG' | 'EILSEQ' | undefined {
  if (name === '' || name === '.' || name === '..') return 'EINVAL';
  if (name.includes('/') || name.includes('\0')) return 'EINVAL';
  if (!name.isWellFormed()) return 'EILSEQ';
  if (Buffer.byteLength(name) > maxNameBytes) return 'ENAMETOOLONG';
  return undefined;
}

/**
 * Checks a path given by a driver.
 * @throws FsError ENAMETOOLONG or EILSEQ for a name that S3 cannot hold, EINVAL for anything that
 *   is no absolute, normalised path (the kernel never sends one)
 */
export function parsePath(text: string): Path {
  if (text === '/') return rootPath;
  if (!text.startsWith('/')) throw new FsError('EINVAL', `${JSON.stringify(text)} is not absolute`);
  for (const name of text.slice(1).split('/')) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw new FsError(fault, `${JSON.stringify(name)} cannot be a file name here`);
    }
  }
  return text as Path;
}

/** The path of `name` in directory `parent`. @throws FsError as parsePath */
export function childPath(parent: Path, name: string): Path {
  const fault = nameFault(name);
  if (fault !== undefined) {
    throw new FsError(fault, `${JSON.stringify(name)} cannot be a file name here`);
  }
  return entryPath(parent, name);
}

/** The same for a name that was checked already, as those of a listing were (`classifyKey`). */
export function entryPath(parent: Path, name: string): Path {
  return (parent === '/' ? `/${name}` : `${parent}/${name}`) as Path;
}

/** The directory a path is in; the root is its own parent. */
export function parentOf(path: Path): Path {
  const cut = path.lastIndexOf('/');
  return cut <= 0 ? rootPath : (path.slice(0, cut) as Path);
}

/** The last component of a path; empty for the root. */
export function nameOf(path: Path): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The first component of a path, which with homes is the user's name; undefined for the root. */
export function topOf(path: Path): string | undefined {
  if (path === rootPath) return undefined;
  const end = path.indexOf('/', 1);
  return end < 0 ? path.slice(1) : path.slice(1, end);
}

/** Whether a path is the root or directly in it. */
export function isTop(path: Path): boolean {
  return !path.includes('/', 1);
}

/** In S3's order, that of UTF-8 bytes (S3 API reference, ListObjectsV2). */
export function sortsAfter(key: string, other: string): boolean {
  return Buffer.compare(Buffer.from(key), Buffer.from(other)) > 0;
}

/** Whether `path` is `ancestor` itself or lies below it. */
export function isWithin(path: Path, ancestor: Path): boolean {
  return ancestor === '/' || path === ancestor || path.startsWith(`${ancestor}/`);
}

/** `path`, known to lie within `from`, as it is called once `from` is renamed to `to`. */
export function movedPath(path: Path, from: Path, to: Path): Path {
  return (to + path.slice(from.length)) as Path;
}

/** The key of a file. The root has the empty key, which names no object. */
export function keyOf(path: Path): Key {
  return path.slice(1) as Key;
}

/** The path of a file by its key. */
export function pathOfKey(key: Key): Path {
  return `/${key}` as Path;
}

/** The key of a directory's marker, which is also the prefix of all below it; empty for the root. */
export function markerOf(path: Path): Key {
  return (path === '/' ? '' : `${path.slice(1)}/`) as Key;
}

/**
 * What a key found below a directory is to that directory.
 * @param directory marker key of the directory listed
 * @param key key relative to the mount's prefix, as S3 returned it: untrusted
 * @returns `marker` for the directory's own marker, `entry` with the child's name (a directory if
 *   the key goes on below the child or ends in `/`), or `odd` for keys that cannot be shown: with
 *   an empty, `.` or `..` segment, a NUL, a segment too long, or outside the directory
 */
export function classifyKey(
  directory: Key,
  key: string,
): { kind: 'marker' } | { kind: 'odd' } | { kind: 'entry'; name: string; isDirectory: boolean } {
  if (!key.startsWith(directory)) return { kind: 'odd' };
  const rest = key.slice(directory.length);
  if (rest === '') return { kind: 'marker' };
  const slash = rest.indexOf('/');
  const name = slash < 0 ? rest : rest.slice(0, slash);
  if (nameFault(name) !== undefined) return { kind: 'odd' };
  return { kind: 'entry', name, isDirectory: slash >= 0 };
}

/**
 * A prefix as the operator wrote it, in the form used inside: empty, or ending in exactly one `/`,
 * so that `alice` never shows `alice2/…`.
 * @throws FsError EINVAL, EILSEQ or ENAMETOOLONG for a prefix whose own segments could not be named
 */
export function normalisePrefix(text: string): string {
  const bare = text.replace(/^\/+|\/+$/g, '');
  if (bare === '') return '';
  for (const name of bare.split('/')) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw new FsError(
        fault,
        `prefix ${JSON.stringify(text)} has the segment ${JSON.stringify(name)}`,
      );
    }
  }
  const prefix = `${bare}/`;
  if (Buffer.byteLength(prefix) >= maxKeyBytes) {
    throw new FsError('ENAMETOOLONG', `prefix is over ${maxKeyBytes - 1} bytes`);
  }
  return prefix;
}
