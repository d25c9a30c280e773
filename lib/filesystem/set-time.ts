/**
 * utimens(2): refused, ignored, or stored in the metadata of the object by a copy onto itself, as
 * `--utimens` says.
 */
import { FsError } from '../errors.js';
import { givenTimeName, textOfTime, timeOfMs } from '../file-time.js';
import type { FileTime, RequestContext } from '../operations.js';
import { keyOf } from '../path.js';
import type { Path } from '../path.js';
import type { FilesystemParts } from './parts.js';

export async function setTime(
  parts: FilesystemParts,
  path: Path,
  [atime, mtime]: readonly [FileTime, FileTime],
  context: RequestContext,
): Promise<void> {
  const { locks, names } = parts;
  const { utimens } = parts.settings;
  // touch(1) and creat(2) wrappers set "now" at once; what S3 shows is near enough to be true.
  const isExplicit = [atime, mtime].some((time) => time !== 'now' && time !== 'omit');
  if (isExplicit && utimens === 'refuse') {
    throw new FsError('EPERM', 'S3 keeps no modification times; --utimens ignore or store');
  }
  if (mtime === 'unknown' && utimens === 'store') {
    throw new FsError('EPERM', 'this driver is not told the time to store; --driver kernel is');
  }
  if (utimens !== 'store' || (typeof mtime !== 'bigint' && mtime !== 'now')) {
    await names.findExisting(path, context.signal);
    return;
  }
  const store = (): Promise<void> => storeTime(parts, path, mtime, context);
  await locks.alone([path], store, context.signal);
}

async function storeTime(
  parts: FilesystemParts,
  path: Path,
  time: bigint | 'now',
  context: RequestContext,
): Promise<void> {
  const { clock, directoryTimes, names, store, tree } = parts;
  const found = await names.findExisting(path, context.signal);
  if (found.kind === 'directory') {
    if (time !== 'now')
      throw new FsError('EPERM', `${path} is a directory, whose time is not kept`);
    directoryTimes.move(path);
    return;
  }
  if (found.file?.isDirty === true) {
    found.file.setTime(time);
    return;
  }
  const givenTime = time === 'now' ? timeOfMs(clock.dateMs()) : time;
  const info = found.info?.metadata === undefined ? await store.head(keyOf(path)) : found.info;
  const metadata = { ...info.metadata, [givenTimeName]: textOfTime(givenTime) };
  const { storageClass, contentType } = info;
  const { etag } = await store.copy(info, info.key, { metadata, storageClass, contentType });
  const stored = { ...info, etag, metadata, givenTime };
  // What is written next goes by the version that is there now.
  await found.file?.rename(path, stored);
  tree.recordFile(path, stored);
}
