/**
 * What the operations of a mount work on, put together once: the tree of what exists, the files being
 * written, the memory of readers and writers, and how each tells the others of what it learned.
 */
import { systemClock, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Change } from '../operations.js';
import { Budget } from '../limits/budget.js';
import { pathOfKey, topOf, type Path } from '../path.js';
import { ReadMemory } from '../read/memory.js';
import type { ReaderSettings } from '../read/reader.js';
import { SharedObjects } from '../read/shared-objects.js';
import type { Holder } from '../limits/shares.js';
import { multipartLimits } from '../store.js';
import type { ObjectStore } from '../store.js';
import { TempSpace } from '../limits/temp-space.js';
import { DirectoryTimes } from '../tree/directory-times.js';
import { Tree } from '../tree/tree.js';
import { StagedFiles } from '../write/staged-files.js';
import type { WriteContext } from '../write/write-context.js';
import { AttributeView, isRoot } from './attributes.js';
import { FileAudit } from './audit-trail.js';
import { noAudit } from './audit.js';
import type { AuditTrail } from './audit.js';
import { contentTypeOf } from './content-type.js';
import { OpenHandles } from './handles.js';
import { HeldUploads, heldFilesOf } from './held-uploads.js';
import { NameLocks } from './name-locks.js';
import { Namespace } from './namespace.js';
import type { FilesystemSettings } from './settings.js';

/** What a mount is made from. */
export interface FilesystemSources {
  readonly store: ObjectStore;
  readonly settings: FilesystemSettings;
  readonly log: Log;
  readonly audit?: AuditTrail;
  readonly clock?: Clock;
}

export interface FilesystemParts {
  readonly store: ObjectStore;
  readonly settings: FilesystemSettings;
  readonly log: Log;
  readonly clock: Clock;
  readonly audit: FileAudit;
  readonly handles: OpenHandles;
  readonly tree: Tree;
  readonly staged: StagedFiles;
  /** absent where uploads that are interrupted are not held */
  readonly held?: HeldUploads | undefined;
  readonly locks: NameLocks;
  readonly names: Namespace;
  readonly directoryTimes: DirectoryTimes;
  readonly view: AttributeView;
  readonly space: TempSpace;
  readonly reading: ReaderSettings;
  readonly writing: WriteContext;
  /** tells the driver what the kernel may have cached and is no longer so */
  readonly onChange: (change: Change) => void;
}

/** Of the memory for writing, what the ends of files may take that are being written. */
const tailsShare = 8;

export function assemble(
  sources: FilesystemSources,
  onChange: (change: Change) => void,
): FilesystemParts {
  const { store, settings, log, audit = noAudit, clock = systemClock } = sources;
  const directoryTimes = new DirectoryTimes(clock);
  const { tempDir, tempLimit, timeoutMs } = settings;
  const holderOf = (path: Path): Holder => (settings.homes === true ? topOf(path) : undefined);
  const space = new TempSpace(tempDir, tempLimit, timeoutMs, clock);
  const tree = new Tree(store, {
    ...{ space, clock, directoryTimes, log },
    longestListing: settings.longestListing,
    ttlMs: settings.metadataTtlMs,
    partSize: settings.partSize,
    // Times in the metadata are in no listing.
    needsHead: settings.utimens === 'store',
    isRoot: (path) => isRoot(path, settings),
    holderOf,
    onForeignChange: (path, what) => onChange({ path, what }),
  });
  const half = Math.floor(settings.memoryLimit / 2);
  const reading: ReaderSettings = {
    partSize: settings.partSize,
    concurrency: settings.downloadConcurrency,
    objects: new SharedObjects(new ReadMemory(half, clock), (key) => holderOf(pathOfKey(key))),
  };
  const staged = new StagedFiles();
  const isHolding = settings.interrupted === 'resume';
  const heldFiles = isHolding ? heldFilesOf(settings, store) : undefined;
  if (isHolding && heldFiles === undefined) throw new Error('nothing says where uploads are held');
  const writing: WriteContext = {
    ...{ store, log, clock, space, reading, held: heldFiles, holderOf },
    memory: new Budget(half - Math.floor(half / tailsShare)),
    tails: new Budget(Math.floor(half / tailsShare)),
    partSize: settings.partSize,
    get equalParts() {
      return settings.equalParts === true || store.partRules.equalSizes.holds;
    },
    get equalStreams() {
      return settings.equalParts === true || store.partRules.equalSizes.isSuspected;
    },
    minPart: settings.minPart ?? multipartLimits.minPart,
    uploadConcurrency: settings.uploadConcurrency,
    contentTypeOf: (path) => (settings.contentType ? contentTypeOf(path) : undefined),
    onLost: (path) => {
      tree.distrust(path);
      onChange({ path, what: 'entry' });
    },
    onStored: (path, info) => {
      tree.recordFile(path, info);
      staged.reveal(path);
      onChange({ path, what: 'attributes' });
    },
  };
  const locks = new NameLocks(staged);
  const fileAudit = new FileAudit(audit, clock);
  const held =
    heldFiles &&
    new HeldUploads({
      ...{ store, log, clock, staged, writing, directoryTimes, onChange },
      files: heldFiles,
      forMs: settings.held?.forMs ?? 0,
      audit: fileAudit,
    });
  return {
    ...{
      store,
      settings,
      log,
      clock,
      tree,
      staged,
      held,
      locks,
      directoryTimes,
      space,
      reading,
      writing,
    },
    audit: fileAudit,
    handles: new OpenHandles(),
    names: new Namespace({ store, log, clock, settings, tree, staged, held, locks }),
    view: new AttributeView(settings, clock.dateMs(), directoryTimes),
    onChange,
  };
}
