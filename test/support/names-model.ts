/**
 * What POSIX would hold after operations on a few names, one after the other: names lead to files,
 * an open handle keeps its file whatever becomes of the name. Small enough to be read at a glance,
 * because tests of what runs side by side compare with it in every order.
 */

/** A file; `stored` is what S3 had of it when the operations began. */
interface ModelFile {
  content: string;
  readonly stored: string | undefined;
}

/** An errno, or undefined for success. */
export type Outcome = string | undefined;

export class NamesModel {
  readonly #names = new Map<string, ModelFile | 'directory'>();
  readonly #handle: ModelFile | undefined;

  /**
   * @param stored what S3 has, by name
   * @param open what `name` holds through the one open handle
   */
  constructor(
    stored: Readonly<Record<string, string>>,
    open: { readonly name: string; readonly content: string } | undefined,
  ) {
    for (const [name, content] of Object.entries(stored)) {
      this.#names.set(name, { content, stored: content });
    }
    if (open === undefined) return;
    this.#handle = { content: open.content, stored: stored[open.name] };
    this.#names.set(open.name, this.#handle);
  }

  /** What S3 holds once all is closed; directories end in a slash. */
  get held(): Record<string, string> {
    const held: Record<string, string> = {};
    for (const [name, file] of this.#names) {
      if (file === 'directory') held[`${name}/`] = '';
      else held[name] = file.content;
    }
    return held;
  }

  write(bytes: string): Outcome {
    if (this.#handle === undefined) return 'EBADF';
    this.#handle.content = bytes + this.#handle.content.slice(bytes.length);
    return undefined;
  }

  /** The open file could not be stored: its names hold what they held before. */
  revert(): void {
    for (const [name, file] of this.#names) {
      if (file === 'directory' || file !== this.#handle) continue;
      if (file.stored === undefined) this.#names.delete(name);
      else file.content = file.stored;
    }
  }

  rename(from: string, to: string): Outcome {
    const file = this.#names.get(from);
    if (file === undefined) return 'ENOENT';
    if (file !== 'directory' && this.#names.get(to) === 'directory') return 'EISDIR';
    if (file === 'directory' && this.#names.has(to)) return 'ENOTDIR';
    this.#names.delete(from);
    this.#names.set(to, file);
    return undefined;
  }

  /** A rename that could not remove what it had copied: the content, or the object it builds on. */
  copy(from: string, to: string, what: 'content' | 'stored'): void {
    const file = this.#names.get(from);
    if (file === undefined || file === 'directory') return;
    this.#names.set(to, { ...file, content: file[what] ?? file.content });
  }

  unlink(name: string): Outcome {
    const file = this.#names.get(name);
    if (file === undefined) return 'ENOENT';
    if (file === 'directory') return 'EISDIR';
    this.#names.delete(name);
    return undefined;
  }

  /** open(2) for writing, a write of `bytes` in place of what is cut off, close(2). */
  overwrite(name: string, bytes: string): Outcome {
    const file = this.#names.get(name);
    if (file === 'directory') return 'EISDIR';
    if (file === undefined) this.#names.set(name, { content: bytes, stored: undefined });
    else file.content = bytes;
    return undefined;
  }

  createExclusively(name: string, bytes: string): Outcome {
    if (this.#names.has(name)) return 'EEXIST';
    this.#names.set(name, { content: bytes, stored: undefined });
    return undefined;
  }

  truncate(name: string, size: number): Outcome {
    const file = this.#names.get(name);
    if (file === undefined) return 'ENOENT';
    if (file === 'directory') return 'EISDIR';
    file.content = file.content.slice(0, size);
    return undefined;
  }

  mkdir(name: string): Outcome {
    if (this.#names.has(name)) return 'EEXIST';
    this.#names.set(name, 'directory');
    return undefined;
  }

  stat(name: string): Outcome {
    return this.#names.has(name) ? undefined : 'ENOENT';
  }
}
