/** How fuse-native calls the operations of a mount, and what it calls them with. */
import type { NativeStat, NativeStatfs } from './structs.js';

/** Answers a request: 0 or a count, or a negative errno. */
export type NativeCallback<Result extends unknown[] = []> = (
  code: number,
  ...result: Result | []
) => void;

/** The names of fuse-native's operations and what it calls them with. */
export interface NativeOperations {
  getattr(path: string, reply: NativeCallback<[NativeStat]>): void;
  /** `handle` is what the driver adds; the package itself calls getattr here. */
  fgetattr(path: string, handle: number, reply: NativeCallback<[NativeStat]>): void;
  opendir(path: string, flags: number, reply: NativeCallback<[number]>): void;
  readdir(path: string, reply: NativeCallback<[string[], NativeStat[]]>): void;
  releasedir(path: string, handle: number, reply: NativeCallback): void;
  open(path: string, flags: number, reply: NativeCallback<[number]>): void;
  create(path: string, mode: number, reply: NativeCallback<[number]>): void;
  read(
    path: string,
    handle: number,
    buffer: Buffer,
    length: number,
    offset: number,
    reply: NativeCallback,
  ): void;
  write(
    path: string,
    handle: number,
    buffer: Buffer,
    length: number,
    offset: number,
    reply: NativeCallback,
  ): void;
  flush(path: string, handle: number, reply: NativeCallback): void;
  fsync(path: string, isDataOnly: number, handle: number, reply: NativeCallback): void;
  release(path: string, handle: number, reply: NativeCallback): void;
  truncate(path: string, size: number, reply: NativeCallback): void;
  ftruncate(path: string, handle: number, size: number, reply: NativeCallback): void;
  unlink(path: string, reply: NativeCallback): void;
  rename(from: string, to: string, reply: NativeCallback): void;
  mkdir(path: string, mode: number, reply: NativeCallback): void;
  rmdir(path: string, reply: NativeCallback): void;
  symlink(target: string, path: string, reply: NativeCallback): void;
  link(from: string, to: string, reply: NativeCallback): void;
  mknod(path: string, mode: number, device: number, reply: NativeCallback): void;
  chmod(path: string, mode: number, reply: NativeCallback): void;
  chown(path: string, uid: number, gid: number, reply: NativeCallback): void;
  utimens(path: string, atime: number, sameAtime: number, reply: NativeCallback): void;
  statfs(path: string, reply: NativeCallback<[NativeStatfs]>): void;
}
