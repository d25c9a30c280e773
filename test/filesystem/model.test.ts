/**
 * Random operations on the file system and on a plain model of what POSIX would hold, side by side;
 * contents are compared after every close and again as S3 has them. Parts are small here, so that
 * streams, composed commits and merged neighbours all happen with few bytes.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { errnoNumber, isFsError } from '../../lib/errors.js';
import type { HandleId } from '../../lib/operations.js';
import { parsePath } from '../../lib/path.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import { useHoldingCore } from '../support/held.js';
import { seededRandom } from '../support/seeded-random.js';
import { kibibyte } from '../support/sizes.js';

/** Small next to the files, so that every rule about parts is met. */
const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;
const maxSize = 600 * kibibyte;

interface Open {
  readonly handle: HandleId;
  readonly file: { content: Buffer };
}

class Model {
  readonly #core: Core;
  readonly #program: Program;
  readonly #pick: (below: number) => number;
  /** what each name holds, as a local disk would */
  readonly files = new Map<string, { content: Buffer }>();
  readonly #open: Open[] = [];
  readonly trace: string[] = [];

  constructor(core: Core, pick: (below: number) => number) {
    this.#core = core;
    this.#program = new Program(core.fs);
    this.#pick = pick;
  }

  async step(): Promise<void> {
    const choices = [
      ...[this.openFile, this.openFile, this.write, this.write, this.write, this.append],
      ...[this.truncate, this.truncatePath, this.readSome, this.close, this.close, this.fsync],
      ...[this.rename, this.unlink, this.list],
    ];
    await choices[this.#pick(choices.length)]?.();
    this.#core.fs.check();
  }

  async finish(): Promise<void> {
    while (this.#open.length > 0) await this.close();
    for (const name of names) await this.compareStored(name);
  }

  readonly openFile = async (): Promise<void> => {
    const name = this.#name();
    const known = this.files.get(name);
    if (known === undefined) {
      this.trace.push(`create ${name}`);
      const handle = await this.#program.create(name, { access: 'readwrite', exclusive: true });
      const file = { content: Buffer.alloc(0) };
      this.files.set(name, file);
      this.#open.push({ handle, file });
      return;
    }
    const truncate = this.#pick(4) === 0;
    this.trace.push(`open ${name}${truncate ? ' truncating' : ''}`);
    const handle = await this.#program.open(name, { access: 'readwrite', truncate });
    if (truncate) known.content = Buffer.alloc(0);
    this.#open.push({ handle, file: known });
  };

  readonly write = async (): Promise<void> => {
    const open = this.#someOpen();
    if (open === undefined) return;
    const { file } = open;
    const length = 1 + this.#pick(this.#pick(2) === 0 ? 2000 : 150 * kibibyte);
    const offset = Math.min(this.#pick(file.content.length + 3000), maxSize - length);
    await this.#writeAt(open, offset, length);
  };

  readonly append = async (): Promise<void> => {
    const open = this.#someOpen();
    if (open === undefined) return;
    const length = 1 + this.#pick(200 * kibibyte);
    if (open.file.content.length + length > maxSize) return;
    await this.#writeAt(open, open.file.content.length, length);
  };

  readonly truncate = async (): Promise<void> => {
    const open = this.#someOpen();
    if (open === undefined) return;
    const size = this.#pick(maxSize);
    const name = this.#nameOf(open.file);
    if (name === undefined) return;
    this.trace.push(`ftruncate ${name} ${size}`);
    await this.#core.fs.truncate(parsePath(name), size, {}, open.handle);
    open.file.content = resized(open.file.content, size);
  };

  readonly truncatePath = async (): Promise<void> => {
    const name = this.#name();
    const file = this.files.get(name);
    if (file === undefined) return;
    const size = this.#pick(maxSize);
    this.trace.push(`truncate ${name} ${size}`);
    await this.#program.truncate(name, size);
    file.content = resized(file.content, size);
  };

  readonly readSome = async (): Promise<void> => {
    const open = this.#someOpen();
    if (open === undefined) return;
    const offset = this.#pick(open.file.content.length + 10);
    const length = this.#pick(120 * kibibyte);
    const reading = this.#core.fs.read(open.handle, offset, length, {});
    // The object behind a file without a name is gone: its unchanged bytes cannot be had any more.
    if (this.#nameOf(open.file) === undefined) {
      await reading.catch((error: unknown) => {
        if (!isFsError(error, 'ESTALE')) throw error;
      });
      return;
    }
    const pieces = await reading;
    const want = open.file.content.subarray(offset, offset + length);
    if (!Buffer.concat(pieces).equals(want)) throw new Error(`read ${offset}+${length} differs`);
  };

  readonly fsync = async (): Promise<void> => {
    const open = this.#someOpen();
    if (open === undefined) return;
    this.trace.push(`fsync ${this.#nameOf(open.file) ?? 'unlinked'}`);
    await this.#core.fs.fsync(open.handle);
    await this.#compareIfNamed(open.file);
  };

  readonly close = async (): Promise<void> => {
    const [open] = this.#open.splice(this.#pick(this.#open.length), 1);
    if (open === undefined) return;
    this.trace.push(`close ${this.#nameOf(open.file) ?? 'unlinked'}`);
    await this.#program.close(open.handle);
    await this.#compareIfNamed(open.file);
  };

  readonly rename = async (): Promise<void> => {
    const from = this.#name();
    const to = this.#name();
    const file = this.files.get(from);
    if (file === undefined || from === to) return;
    this.trace.push(`rename ${from} ${to}`);
    await this.#program.rename(from, to);
    this.files.delete(from);
    this.files.set(to, file);
  };

  readonly unlink = async (): Promise<void> => {
    const name = this.#name();
    if (!this.files.has(name)) return;
    this.trace.push(`unlink ${name}`);
    await this.#program.unlink(name);
    this.files.delete(name);
  };

  readonly list = async (): Promise<void> => {
    this.trace.push('list');
    const got = (await this.#program.list('/')).join(' ');
    const want = [...this.files.keys()]
      .map((name) => name.slice(1))
      .sort()
      .join(' ');
    if (got !== want) throw new Error(`listed: ${got}; there are: ${want}`);
  };

  /** What any other client gets. */
  async compareStored(name: string): Promise<void> {
    const want = this.files.get(name)?.content;
    const keys = await this.#core.bucket.keys(`alice${name}`);
    if (want === undefined) {
      if (keys.length > 0) throw new Error(`${name} is still in S3`);
      return;
    }
    const got = await this.#core.bucket.bytes(`alice${name}`);
    if (!got.equals(want)) throw new Error(`${name} in S3: ${difference(got, want)}`);
  }

  async #compareIfNamed(file: { content: Buffer }): Promise<void> {
    const name = this.#nameOf(file);
    if (name !== undefined) await this.compareStored(name);
  }

  async #writeAt({ handle, file }: Open, offset: number, length: number): Promise<void> {
    this.trace.push(`write ${this.#nameOf(file) ?? 'unlinked'} ${offset}+${length}`);
    const data = randomBytes(length);
    await this.#program.write(handle, data, offset);
    if (offset + length > file.content.length)
      file.content = resized(file.content, offset + length);
    data.copy(file.content, offset);
  }

  #someOpen(): Open | undefined {
    return this.#open[this.#pick(this.#open.length)];
  }

  #name(): string {
    return names[this.#pick(names.length)] ?? '/a';
  }

  #nameOf(file: { content: Buffer }): string | undefined {
    return [...this.files].find(([, held]) => held === file)?.[0];
  }
}

const names = ['/a', '/b', '/c'];

function resized(content: Buffer, size: number): Buffer {
  const resized = Buffer.alloc(size);
  content.copy(resized, 0, 0, Math.min(size, content.length));
  return resized;
}

function difference(got: Buffer, want: Buffer): string {
  if (got.length !== want.length) return `${got.length} bytes instead of ${want.length}`;
  const at = got.findIndex((byte, index) => byte !== want[index]);
  return `differs at ${at} of ${want.length}`;
}

const runs = Number(process.env['S3JAIL_MODEL_RUNS'] ?? 12);
const steps = 250;
const firstSeed = Number(process.env['S3JAIL_MODEL_SEED'] ?? Date.now() % 1_000_000);

for (let run = 0; run < runs; run++) {
  const seed = firstSeed + run;
  void t.test(
    `${steps} random operations end as on a local disk (S3JAIL_MODEL_SEED=${seed})`,
    async (t) => {
      // Nothing is interrupted here: what may be held is stored as it is otherwise.
      const use = seed % 5 === 2 ? useHoldingCore : useCore;
      const core = await use(t, {
        minPart,
        settings: {
          partSize,
          equalParts: seed % 4 === 3,
          metadataTtlMs: seed % 2 === 0 ? 5000 : 0,
          // Parts are too large for so little memory, and are read while they are sent.
          ...(seed % 3 === 0 ? { memoryLimit: 2 * partSize } : {}),
        },
      });
      const model = new Model(core, seededRandom(seed));
      try {
        for (let step = 0; step < steps; step++) await model.step();
        await model.finish();
      } catch (error) {
        const errno = isFsError(error) ? ` (${error.code} ${errnoNumber(error.code)})` : '';
        t.comment(model.trace.slice(-40).join('\n'));
        throw new Error(`after ${model.trace.length} operations${errno}`, { cause: error });
      }
      t.same(core.endpoint.openUploads(), [], 'no multipart upload is left');
      t.equal(core.fs.status.tempBytes, 0, 'no temp bytes are left');
      t.equal(core.fs.status.handles, 0);
      t.equal(core.fs.status.downloadMemory, 0, 'no memory is held for reading');
    },
  );
}
