/**
 * Which opcode is served by what, and the rules that hold for a whole opcode: whose right to it is
 * checked, what counts as a change when it is interrupted, and which errors may reach the kernel.
 *
 * Opcodes without a handler are answered ENOSYS, and the kernel then stops asking or does the thing
 * itself, which is right for each of them: extended attributes (none), LSEEK (generic SEEK_DATA and
 * SEEK_HOLE), COPY_FILE_RANGE and FALLOCATE (the caller copies or writes zeros), IOCTL, POLL, BMAP,
 * TMPFILE, STATX, SYNCFS.
 */
import { FsError, isFsError, isStoreError, toFsError } from '../../errors.js';
import type { Log } from '../../log.js';
import type { Entitled } from './access.js';
import type { Handler } from './call.js';
import { operationName, type OperationName } from './protocol.js';
import { access, getattr, setattr, statfs } from './serve-attributes.js';
import { fsyncdir, opendir, readdir, readdirplus, releasedir } from './serve-directories.js';
import { create, flush, fsync, open, read, release, write } from './serve-files.js';
import {
  link,
  lookup,
  mkdir,
  mknod,
  rename,
  rename2,
  rmdir,
  symlink,
  unlink,
} from './serve-names.js';

export interface Service {
  readonly serve: Handler;
  readonly entitled: Entitled;
  /** it changes something, so an interrupted one gets longer to end by itself */
  readonly changes: boolean;
}

const asks = (serve: Handler): Service => ({ serve, entitled: 'caller', changes: false });
const changes = (serve: Handler): Service => ({ serve, entitled: 'caller', changes: true });
const onOpenFile = (serve: Handler): Service => ({ serve, entitled: 'holder', changes: false });
const changesOpenFile = (serve: Handler): Service => ({ serve, entitled: 'holder', changes: true });
const ends = (serve: Handler): Service => ({ serve, entitled: 'nobody', changes: false });
/** What was acknowledged is stored, whoever lets go of it last. */
const stores = (serve: Handler): Service => ({ serve, entitled: 'nobody', changes: true });

const services: Partial<Record<OperationName, Service>> = {
  lookup: asks(lookup),
  getattr: asks(getattr),
  access: asks(access),
  statfs: asks(statfs),
  open: asks(open),
  opendir: asks(opendir),
  setattr: changes(setattr),
  mkdir: changes(mkdir),
  unlink: changes(unlink),
  rmdir: changes(rmdir),
  rename: changes(rename),
  rename2: changes(rename2),
  symlink: changes(symlink),
  link: changes(link),
  mknod: changes(mknod),
  create: changes(create),
  read: onOpenFile(read),
  readdir: onOpenFile(readdir),
  readdirplus: onOpenFile(readdirplus),
  releasedir: ends(releasedir),
  fsyncdir: ends(fsyncdir),
  release: ends(release),
  write: changesOpenFile(write),
  flush: stores(flush),
  fsync: stores(fsync),
};

/** How an opcode is served; undefined for those to be answered ENOSYS. */
export function serviceOf(code: number): Service | undefined {
  const name = operationName(code);
  return name === undefined ? undefined : services[name];
}

/**
 * Operations whose ENOSYS the kernel passes on and (but for LINK, where it does no harm) does not
 * remember. Everywhere else one ENOSYS would switch the operation off for the life of the mount: after
 * one from FLUSH every later upload would be lost without a word.
 */
const mayBeUnsupported: readonly (OperationName | undefined)[] = [
  'symlink',
  'link',
  'mknod',
  'rename',
];

/**
 * The errno that a failed request is answered with. What nobody foresaw is logged here, because
 * nobody else knows of it.
 */
export function errnoFor(code: number, error: unknown, log: Log): number {
  const failure = toFsError(error);
  // The types forbid it, but a number that is no errno would leave the caller without an answer.
  if (!Number.isInteger(failure.errno)) return errnoFor(code, new TypeError(failure.code), log);
  const operation = operationName(code);
  if (!isFsError(error) && !isStoreError(error)) {
    log.error({ operation, err: error }, 'a request failed unexpectedly');
    return failure.errno;
  }
  if (failure.code !== 'ENOSYS' || mayBeUnsupported.includes(operation)) return failure.errno;
  // EINVAL is what the kernel would make of ENOSYS here, for this and every later RENAME2.
  if (operation === 'rename2') return new FsError('EOPNOTSUPP', failure.message).errno;
  log.error({ operation, err: error }, 'ENOSYS is no answer to this request; EIO given instead');
  return new FsError('EIO', failure.message).errno;
}
