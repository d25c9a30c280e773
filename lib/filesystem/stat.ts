/**
 * stat(2) and readdir(3): what is shown of a path, of an open file, and of all names in a directory.
 * What is being written is shown as written so far; all else as S3 has it.
 */
import type { Attributes, HandleId, RequestContext } from '../operations.js';
import { childPath, nameOf, pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo } from '../store.js';
import type { Entry } from '../tree/listing.js';
import type { StagedFile } from '../write/staged-file.js';
import { DirectoryHandle } from './directory-handle.js';
import { GivenTimes } from './given-times.js';
import type { FilesystemParts } from './parts.js';

export class Stat {
  readonly #parts: FilesystemParts;
  readonly #givenTimes: GivenTimes;

  constructor(parts: FilesystemParts) {
    this.#parts = parts;
    const { store, tree } = parts;
    this.#givenTimes = new GivenTimes({
      store,
      listed: (path) => tree.listed(path),
      known: (path) => tree.peek(path)?.entry,
      onTold: (path, info) => tree.noteTold(path, info),
    });
  }

  async getattr(path: Path, context: RequestContext, handle?: HandleId): Promise<Attributes> {
    const { handles, names, tree, view } = this.#parts;
    const open = handle === undefined ? undefined : handles.get(handle);
    if (open?.kind === 'staged') return await this.#ofStaged(open.file, context);
    if (open?.kind === 'reader') {
      const { info } = open.reader;
      return view.ofObject(await this.#withGivenTime(pathOfKey(info.key), info, context));
    }
    const found = await names.findExisting(path, context.signal);
    if (found.kind === 'directory' || found.info === undefined || found.file?.isDirty === true) {
      return view.of(path, found, tree.freshForMs(path));
    }
    const info = await this.#withGivenTime(path, found.info, context);
    return view.of(path, { ...found, info }, tree.freshForMs(path));
  }

  async #ofStaged(file: StagedFile, context: RequestContext): Promise<Attributes> {
    const { view } = this.#parts;
    const { base, isDirty } = file;
    if (isDirty || base === undefined) return view.ofStaged(file);
    return view.ofObject(await this.#withGivenTime(file.path, base, context));
  }

  async #withGivenTime(path: Path, info: ObjectInfo, context: RequestContext): Promise<ObjectInfo> {
    if (!this.#parts.view.needsGivenTime(info)) return info;
    return await this.#givenTimes.complete(path, info, context.signal);
  }

  async opendir(path: Path, context: RequestContext): Promise<HandleId> {
    const { handles, held, names, staged, tree, view } = this.#parts;
    if (held !== undefined) await Promise.all(staged.within(path).map((file) => held.settle(file)));
    const listing = await tree.list(path, context.signal);
    const validForMs = tree.listingFreshForMs(path);
    const show = (name: string, entry: Entry): Attributes | undefined => {
      const child = childPath(path, name);
      // It may be written to since the handle was opened.
      const file = staged.at(child);
      if (file === undefined && staged.isHidden(child)) return undefined;
      if (names.isGuarded(child)) return undefined;
      return file === undefined ? view.of(child, entry, validForMs) : view.ofStaged(file);
    };
    const written = new Map(
      staged.within(path).map((file) => [nameOf(file.path), view.ofStaged(file)]),
    );
    return handles.add(new DirectoryHandle({ path, listing, show, written }));
  }
}
