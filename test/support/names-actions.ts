/**
 * What two sides do to a few names at a time: files to begin with, and the operations, each with what
 * it means to the model. The tests of names under way take them in pairs.
 */
import type { Filesystem } from '../../lib/filesystem/filesystem.js';
import type { HandleId } from '../../lib/operations.js';
import { parsePath } from '../../lib/path.js';
import type { Program } from './core.js';
import type { NamesModel, Outcome } from './names-model.js';
import { kibibyte } from './sizes.js';

/** One file `a` that is open for writing, between a stored `x` and a stored or absent `b`. */
export interface Setting {
  readonly name: string;
  readonly stored: Readonly<Record<string, string>>;
  /** what the handle holds when the pair begins */
  readonly content: string;
  readonly open: (program: Program, at: (name: string) => string) => Promise<HandleId>;
  readonly isStored?: boolean;
}

const old = 'old '.repeat(50);
const fresh = 'new '.repeat(60);
const large = 'large '.repeat(45 * kibibyte);

export const settings: Setting[] = [
  {
    name: 'a new file',
    stored: { x: 'other' },
    content: fresh,
    open: async (program, at) => {
      const handle = await program.create(at('a'));
      await program.write(handle, fresh);
      return handle;
    },
  },
  {
    name: 'a file written anew',
    stored: { a: old, x: 'other', b: 'target' },
    content: fresh,
    open: async (program, at) => {
      const handle = await program.open(at('a'), { access: 'write', truncate: true });
      await program.write(handle, fresh);
      return handle;
    },
  },
  {
    name: 'a file that is appended to',
    stored: { a: old, x: 'other', b: 'target' },
    content: old + fresh,
    open: async (program, at) => {
      const handle = await program.open(at('a'), { access: 'write' });
      await program.write(handle, fresh, old.length);
      return handle;
    },
  },
  {
    name: 'a large new file',
    stored: { x: 'other', b: 'target' },
    content: large,
    open: async (program, at) => {
      const handle = await program.create(at('a'), { exclusive: true });
      await program.write(handle, large);
      return handle;
    },
  },
  {
    name: 'a file that is stored and still open',
    stored: { x: 'other', b: 'target' },
    content: fresh,
    open: async (program, at) => {
      const handle = await program.create(at('a'));
      await program.write(handle, fresh);
      return handle;
    },
    isStored: true,
  },
];

/** One case at work. */
export interface Scene {
  readonly fs: Filesystem;
  readonly program: Program;
  readonly at: (name: string) => string;
  readonly handle: HandleId;
  isReleased: boolean;
}

export interface Action {
  readonly name: string;
  readonly run: (scene: Scene) => Promise<unknown>;
  readonly model: (model: NamesModel) => Outcome;
  /** what a failure may leave half done */
  readonly halfDone?: (model: NamesModel, what: 'content' | 'stored') => void;
  /** it gives the open file another name */
  readonly moves?: boolean;
  /** the open handle stores */
  readonly stores?: boolean;
  readonly usesHandle?: boolean;
  readonly closes?: boolean;
}

const none = (): Outcome => undefined;

export const actions: Action[] = [
  {
    name: 'write',
    run: ({ program, handle }) => program.write(handle, 'WRITTEN'),
    model: (model) => model.write('WRITTEN'),
    usesHandle: true,
  },
  {
    name: 'flush',
    run: ({ fs, handle }) => fs.flush(handle, {}),
    model: none,
    stores: true,
    usesHandle: true,
  },
  {
    name: 'fsync',
    run: ({ fs, handle }) => fs.fsync(handle),
    model: none,
    stores: true,
    usesHandle: true,
  },
  {
    name: 'close',
    run: async (scene) => {
      scene.isReleased = true;
      await scene.program.close(scene.handle);
    },
    model: none,
    stores: true,
    usesHandle: true,
    closes: true,
  },
  {
    name: 'rename from',
    moves: true,
    run: ({ program, at }) => program.rename(at('a'), at('b')),
    model: (model) => model.rename('a', 'b'),
    halfDone: (model, what) => model.copy('a', 'b', what),
  },
  {
    name: 'rename onto',
    run: ({ program, at }) => program.rename(at('x'), at('a')),
    model: (model) => model.rename('x', 'a'),
    halfDone: (model, what) => model.copy('x', 'a', what),
  },
  {
    name: 'unlink',
    run: ({ program, at }) => program.unlink(at('a')),
    model: (model) => model.unlink('a'),
  },
  {
    name: 'truncate',
    run: ({ program, at }) => program.truncate(at('a'), 3),
    model: (model) => model.truncate('a', 3),
  },
  {
    name: 'open for reading',
    run: async ({ program, at }) => {
      await program.close(await program.open(at('a'), { access: 'read' }));
    },
    model: (model) => model.stat('a'),
  },
  {
    name: 'overwrite',
    run: async ({ program, at }) => {
      const handle = await program.create(at('a'), { truncate: true });
      await program.write(handle, 'OVER');
      await program.close(handle);
    },
    model: (model) => model.overwrite('a', 'OVER'),
  },
  {
    name: 'create exclusively',
    run: async ({ program, at }) => {
      const handle = await program.create(at('a'), { exclusive: true });
      await program.write(handle, 'EXCL');
      await program.close(handle);
    },
    model: (model) => model.createExclusively('a', 'EXCL'),
  },
  {
    name: 'mkdir',
    run: ({ program, at }) => program.mkdir(at('a')),
    model: (model) => model.mkdir('a'),
  },
  {
    name: 'utimens',
    run: ({ fs, at }) => fs.utimens(parsePath(at('a')), 'omit', 10n ** 18n, {}),
    model: (model) => model.stat('a'),
  },
];
