/**
 * The driver port: what any binding to the kernel must offer. Two implementations: `fuse/native/index.ts`
 * (libfuse 2 through the npm package) and `kernel/` (the /dev/fuse protocol). One suite judges both.
 */
import type { ClosedAncestor } from '../host/closed-ancestor.js';
import type { Log } from '../log.js';
import type { Operations } from '../operations.js';

/** Whose each home is, as the host's user database has it (`--homes`). */
export interface HomeOwners {
  /** What is known without asking, and for how long; undefined where `find` has to be waited for. */
  peek(
    home: string,
  ): { readonly owner: { readonly uid: number } | undefined; readonly forMs: number } | undefined;
  /** @throws FsError EIO where the database does not say */
  find(home: string): Promise<{ readonly uid: number } | undefined>;
}

export interface MountSettings {
  /** absolute path of an existing directory */
  readonly mountPoint: string;
  /** what mount(8) and df(1) show as the device */
  readonly source: string;
  /** let users other than the mounting one in */
  readonly allowOther: boolean;
  readonly readOnly: boolean;
  /**
   * Who may use the mount besides root, by the caller's uid; undefined for anybody the kernel lets in.
   * A driver that does not know its callers says so in `limits`.
   */
  readonly allowUids?: readonly number[] | undefined;
  /** Whose the directories of the root are, each with all in it; instead of `allowUids`. */
  readonly owners?: HomeOwners | undefined;
  /** Where it is there, callers need not be checked at each step: nobody else gets this far. */
  readonly closedAncestor?: ClosedAncestor | undefined;
  /** Who the kernel takes for the owner of the mount, and lets in alone unless `allowOther`; root. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** `--metadata-ttl`: the longest time that the kernel may show an answer without asking again */
  readonly metadataTtlMs: number;
  /** where this process may not mount any more; the kernel driver's alone */
  readonly rootHelper?: RootHelper | undefined;
  readonly log: Log;
}

/** What stays root where this process has given that up: it can make and end this one mount. */
export interface RootHelper {
  /** the open /dev/fuse, whose descriptor is the driver's from now on */
  readonly device: number;
  /** @throws Error with what mount(8) said */
  mount(): Promise<void>;
  /** @returns whether /sys let it */
  raiseReadAhead(): Promise<boolean>;
  /** Whether the mount answers root. @throws Error with what stat(1) said */
  probe(): Promise<void>;
  /** @param how.cut with `lazy`: whoever uses it is cut off. @throws Error with what umount(8) said */
  unmount(how: { lazy: boolean; cut?: boolean }): Promise<void>;
  /** Ends the connection for all who see the mount anywhere. @throws Error with what was said */
  abort(): Promise<void>;
  /** Ends the helper. */
  close(): void;
}

/** A live mount. */
export interface Mounted {
  /** What the driver cannot do or know, for `status` and the log. */
  readonly limits: readonly string[];
  /** Figures of the driver for `status`; nothing is asked of the kernel for them. */
  readonly counters?: () => Readonly<Record<string, number>>;
  /** Requests the kernel has made, by name (LOOKUP, GETATTR, READDIRPLUS …), where the driver sees them. */
  readonly kernelRequests?: () => Readonly<Record<string, number>>;
  /** Settles when the kernel has let the mount go, by whoever's hand. */
  readonly unmounted: Promise<void>;
  /**
   * Takes the mount out of the table; `unmounted` settles once nothing shows it any more, which a bind
   * mount or another namespace may keep up.
   * @param options.lazy detach now even if the mount is busy (umount2(2) MNT_DETACH)
   * @throws FsError EBUSY where it is in use and `lazy` is not set
   */
  unmount(options: { lazy: boolean }): Promise<void>;
  /**
   * Ends it for all who still see it; without, only the end of the process does.
   * @throws Error with a sentence for the operator
   */
  disconnect?(): Promise<void>;
}

export interface Driver {
  readonly name: 'kernel' | 'fuse-native';
  /** Resolves when the mount answers requests. @throws Error with a sentence for the operator */
  mount(operations: Operations, settings: MountSettings): Promise<Mounted>;
}
