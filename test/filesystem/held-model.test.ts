/**
 * Uploads that grow, whose clients and mounts are killed at random, beside a plain model of what is
 * published and what is held. S3 never has anything but what was published.
 */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import type { HandleId } from '../../lib/operations.js';
import { closed, dropped, useHoldingCore, writeAll, type HoldingCore } from '../support/held.js';
import { seededRandom } from '../support/seeded-random.js';
import { kibibyte } from '../support/sizes.js';

const names = ['/a', '/b', '/c'];

interface File {
  /** in S3 */
  published?: Buffer | undefined;
  /** what the record has */
  held?: Buffer | undefined;
  open?: { readonly handle: HandleId; bytes: Buffer } | undefined;
}

class Model {
  #core: HoldingCore;
  readonly #t: Test;
  readonly #pick: (below: number) => number;
  readonly #files = new Map<string, File>();
  readonly trace: string[] = [];

  constructor(t: Test, core: HoldingCore, pick: (below: number) => number) {
    this.#t = t;
    this.#core = core;
    this.#pick = pick;
    for (const name of names) this.#files.set(name, {});
  }

  async step(): Promise<void> {
    const steps = [
      ...[this.#begin, this.#goOn, this.#goOn, this.#write, this.#write, this.#write, this.#write],
      ...[this.#drop, this.#drop, this.#close, this.#remove, this.#kill],
    ];
    const name = names[this.#pick(names.length)] ?? '/a';
    await steps[this.#pick(steps.length)]?.(name, this.#files.get(name) ?? {});
    await this.compare();
  }

  async end(): Promise<HoldingCore> {
    for (const [name, file] of this.#files) {
      if (file.open === undefined) await this.#goOn(name, file);
      await this.#close(name, file);
    }
    await this.compare();
    return this.#core;
  }

  readonly #begin = async (name: string, file: File): Promise<void> => {
    if (file.open !== undefined) return;
    this.trace.push(`begin ${name}`);
    const { program } = this.#core;
    const handle = (await program.exists(name))
      ? await program.open(name, { access: 'write', truncate: true })
      : await program.create(name, { truncate: true });
    file.held = undefined;
    file.open = { handle, bytes: Buffer.alloc(0) };
  };

  readonly #goOn = async (name: string, file: File): Promise<void> => {
    if (file.open !== undefined || file.held === undefined) return;
    this.trace.push(`go on ${name} at ${file.held.length}`);
    const handle = await this.#core.program.open(name, { access: 'write' });
    file.open = { handle, bytes: file.held };
  };

  readonly #write = async (name: string, { open }: File): Promise<void> => {
    if (open === undefined) return;
    const more = randomBytes(1 + this.#pick(150 * kibibyte));
    this.trace.push(`write ${name} ${open.bytes.length}+${more.length}`);
    const bytes = Buffer.concat([open.bytes, more]);
    await writeAll(this.#core.program, open.handle, bytes, open.bytes.length);
    open.bytes = bytes;
  };

  readonly #drop = async (name: string, file: File): Promise<void> => {
    if (file.open === undefined) return;
    this.trace.push(`drop ${name}`);
    await this.#core.program.close(file.open.handle, dropped);
    file.held = file.open.bytes;
    file.open = undefined;
  };

  readonly #close = async (name: string, file: File): Promise<void> => {
    if (file.open === undefined) return;
    this.trace.push(`close ${name}`);
    await this.#core.program.close(file.open.handle, closed);
    file.published = file.open.bytes;
    file.held = undefined;
    file.open = undefined;
  };

  readonly #remove = async (name: string, file: File): Promise<void> => {
    if (file.open !== undefined) return;
    if (file.held === undefined && file.published === undefined) return;
    this.trace.push(`rm ${name}`);
    await this.#core.program.unlink(name);
    file.held = undefined;
    file.published = undefined;
  };

  readonly #kill = async (): Promise<void> => {
    this.trace.push('kill -9');
    this.#core = await this.#core.next();
    for (const file of this.#files.values()) file.open = undefined;
  };

  async compare(): Promise<void> {
    for (const [name, { published, held, open }] of this.#files) {
      const shown = open?.bytes ?? held ?? published;
      const isThere = await this.#core.program.exists(name);
      if (isThere !== (shown !== undefined)) throw new Error(`${name} there: ${String(isThere)}`);
      const { size } = isThere ? await this.#core.program.stat(name) : { size: undefined };
      if (size !== shown?.length) throw new Error(`${name} has ${size}, not ${shown?.length}`);
      const keys = await this.#core.bucket.keys(`alice${name}`);
      const stored = keys.length === 0 ? undefined : await this.#core.bucket.bytes(`alice${name}`);
      if (Buffer.compare(stored ?? Buffer.alloc(0), published ?? Buffer.alloc(0)) !== 0) {
        throw new Error(`${name} in S3 is not what was published`);
      }
    }
    this.#t.equal(this.#core.fs.status.downloadMemory, 0);
  }
}

const runs = Number(process.env['S3JAIL_MODEL_RUNS'] ?? 4);
const firstSeed = Number(process.env['S3JAIL_MODEL_SEED'] ?? Date.now() % 1_000_000);

for (let run = 0; run < runs; run++) {
  const seed = firstSeed + run;
  void t.test(`clients and mounts are killed at random (S3JAIL_MODEL_SEED=${seed})`, async (t) => {
    const core = await useHoldingCore(t, { settings: { equalParts: seed % 4 === 3 } });
    const model = new Model(t, core, seededRandom(seed));
    try {
      for (let step = 0; step < 120; step++) await model.step();
      const last = await model.end();
      t.strictSame(last.fs.status.held, [], 'nothing is held');
      t.equal(last.fs.status.tempBytes, 0, 'no temp bytes are left');
    } catch (error) {
      t.comment(model.trace.slice(-40).join('\n'));
      throw new Error(`after ${model.trace.length} operations`, { cause: error });
    }
  });
}
