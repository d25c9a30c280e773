/**
 * stat(2) and readdir(3): what is shown of a path, of an open file, and of all names in a directory.
 * What is being written is shown as written so far; all else as S3 has it.
 */
import type { Attributes, HandleId, RequestContext } from '../operations.js';
import { entryPath, nameOf, pathOfKey } from '../path.js';
import type { Path } from '../path.js';
import type { ObjectInfo } from '../store.js';
import type { Entry, Snapshot } from '../tree/listing.js';
import { DirectoryHandle } from './directory-handle.js';
import { GivenTimes } from './given-times.js';
import type { Found } from './namespace.js';
import type { FilesystemParts } from './parts.js';

/** What is shown. */
interface Subject {
  readonly path: Path;
  readonly found: Found;
  /** as an open handle has it, which may be something else than S3 has at the path */
  readonly isOpen?: true;
}

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
    const { names } = this.#parts;
    const subject = this.#subjectOf(handle) ?? {
      path,
      found: await names.findExisting(path, context.signal),
    };
    const untimed = this.#untimed(subject.found);
    if (untimed === undefined) return this.#show(subject);
    const info = await this.#givenTimes.complete(subject.path, untimed, context.signal);
    return this.#show({ ...subject, found: { ...subject.found, kind: 'file', info } });
  }

  /** As getattr, where nothing has to be asked. */
  getattrNow(path: Path, handle?: HandleId): Attributes | 'absent' | undefined {
    const subject = this.#subjectOf(handle) ?? this.#known(path);
    if (subject === 'absent' || subject === undefined) return subject;
    return this.#untimed(subject.found) === undefined ? this.#show(subject) : undefined;
  }

  #known(path: Path): Subject | 'absent' | undefined {
    const known = this.#parts.names.known(path);
    if (known === undefined) return undefined;
    return known.found === undefined ? 'absent' : { path, found: known.found };
  }

  /** What a handle is open on. */
  #subjectOf(handle: HandleId | undefined): Subject | undefined {
    const open = handle === undefined ? undefined : this.#parts.handles.get(handle);
    if (open === undefined || open.kind === 'directory') return undefined;
    if (open.kind === 'reader') {
      const { info } = open.reader;
      return { path: pathOfKey(info.key), found: { kind: 'file', info }, isOpen: true };
    }
    const { file } = open;
    const { path, base } = file;
    const info = base === undefined ? {} : { info: base };
    return { path, found: { kind: 'file', file, ...info }, isOpen: true };
  }

  /** What is shown and has a time that nobody told yet. */
  #untimed(found: Found): ObjectInfo | undefined {
    if (found.kind === 'directory' || found.file?.isDirty === true) return undefined;
    const { info } = found;
    return info !== undefined && this.#parts.view.needsGivenTime(info) ? info : undefined;
  }

  #show({ path, found, isOpen }: Subject): Attributes {
    const { tree, view } = this.#parts;
    return view.of(path, found, isOpen === true ? 0 : tree.freshForMs(path));
  }

  async opendir(path: Path, context: RequestContext): Promise<HandleId> {
    const { held, staged, tree } = this.#parts;
    if (held !== undefined) await Promise.all(staged.within(path).map((file) => held.settle(file)));
    return this.#open(path, await tree.list(path, context.signal));
  }

  /** As opendir, where nothing has to be asked. */
  opendirNow(path: Path): HandleId | undefined {
    const { held, staged, tree } = this.#parts;
    if (held !== undefined && staged.within(path).length > 0) return undefined;
    const listing = tree.listNow(path);
    return listing && this.#open(path, listing);
  }

  #open(path: Path, listing: Snapshot): HandleId {
    const { handles, names, staged, tree, view } = this.#parts;
    const validForMs = tree.listingFreshForMs(path);
    const show = (name: string, entry: Entry): Attributes | undefined => {
      const child = entryPath(path, name);
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
