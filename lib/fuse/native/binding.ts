/** How fuse-native calls the operations of a mount, and what it calls them with. */
import type { NativeStat, NativeStatfs } from './structs.js';

/** Answers a request: 0 or a count, or a negative errno. */
export type Reply<Result extends unknown[] = []> = (code: number, ...result: Result | []) => void;

/** The names of fuse-native's operations and what it calls them with. */
export interface NativeOperations {
  getattr(path: string, reply: Reply<[NativeStat]>): void;
  /** `handle` is what the driver adds; the package itself calls getattr here. */
  fgetattr(path: string, handle: number, reply: Reply<[NativeStat]>): void;
  opendir(path: string, flags: number, reply: Reply<[number]>): void;
  readdir(path: string, reply: Reply<[string[], NativeStat[]]>): void;
  releasedir(path: string, handle: number, reply: Reply): void;
  open(path: string, flags: number, reply: Reply<[number]>): void;
  create(path: string, mode: number, reply: Reply<[number]>): void;
  read(
    path: string,
    handle: number,
    buffer: Buffer,
    length: number,
    offset: number,
    reply: Reply,
  ): void;
  write(
    path: string,
    handle: number,
    buffer: Buffer,
    length: number,
    offset: number,
    reply: Reply,
  ): void;
  flush(path: string, handle: number, reply: Reply): void;
  fsync(path: string, isDataOnly: number, handle: number, reply: Reply): void;
  release(path: string, handle: number, reply: Reply): void;
  truncate(path: string, size: number, reply: Reply): void;
  ftruncate(path: string, handle: number, size: number, reply: Reply): void;
  unlink(path: string, reply: Reply): void;
  rename(from: string, to: string, reply: Reply): void;
  mkdir(path: string, mode: number, reply: Reply): void;
  rmdir(path: string, reply: Reply): void;
  symlink(target: string, path: string, reply: Reply): void;
  link(from: string, to: string, reply: Reply): void;
  mknod(path: string, mode: number, device: number, reply: Reply): void;
  chmod(path: string, mode: number, reply: Reply): void;
  chown(path: string, uid: number, gid: number, reply: Reply): void;
  utimens(path: string, atime: number, sameAtime: number, reply: Reply): void;
  statfs(path: string, reply: Reply<[NativeStatfs]>): void;
}
