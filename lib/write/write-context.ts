/** What all staged files of a mount share. */
import type { Budget } from '../limits/budget.js';
import type { Clock } from '../clock.js';
import type { HeldFiles } from './held-files.js';
import type { Log } from '../log.js';
import type { Path } from '../path.js';
import type { ReaderSettings } from '../read/reader.js';
import type { Holder } from '../limits/shares.js';
import type { ObjectInfo, ObjectStore } from '../store.js';
import type { TempSpace } from '../limits/temp-space.js';

export interface WriteContext {
  readonly store: ObjectStore;
  readonly space: TempSpace;
  /** whose memory and temp space the file at a path takes */
  readonly holderOf: (path: Path) => Holder;
  /** bytes of bodies in memory */
  readonly memory: Budget;
  /** bytes of files' ends in memory, beside those */
  readonly tails: Budget;
  readonly reading: ReaderSettings;
  readonly partSize: number;
  /** by option, or because the endpoint was found to want them */
  readonly equalParts: boolean;
  /** the same for parts that leave before the commit, which cannot be cut anew */
  readonly equalStreams: boolean;
  /** smallest part but the last that the endpoint takes, bytes */
  readonly minPart: number;
  readonly uploadConcurrency: number;
  readonly contentTypeOf: (path: Path) => string | undefined;
  /** called under the file's lock the moment S3 has it */
  readonly onStored: (path: Path, info: ObjectInfo) => void;
  /** somebody else has replaced or made what a file builds on */
  readonly onLost: (path: Path) => void;
  /** where uploads that are interrupted are held; absent where they are not */
  readonly held?: HeldFiles | undefined;
  readonly clock: Clock;
  readonly log: Log;
}
