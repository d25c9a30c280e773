/**
 * Random operations on the mount and on a local directory, side by side and through system calls:
 * errnos are the same, contents are compared after every close, by reading both and as S3 has it.
 */
import { open, readFile, rename, truncate, unlink, type FileHandle } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemErrorCode } from '../../lib/errors.js';
import type { Bucket } from '../support/bucket.js';
import { mountForTest, type DriverName } from '../support/mounted.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { seededRandom } from '../support/seeded-random.js';
import { useServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';

const steps = Number(process.env['S3JAIL_MODEL_STEPS'] ?? 300);
const firstSeed = Number(process.env['S3JAIL_MODEL_SEED'] ?? Date.now() % 1_000_000);
const names = ['a', 'b.txt', 'c'];
/** Several parts of the smallest size: what is above is written rarely. */
const largest = 14 * mebibyte;

interface Pair {
  name: string | undefined;
  readonly mounted: FileHandle;
  readonly local: FileHandle;
}

/** What a call ended with: its value, or its errno. */
async function outcome<T>(work: Promise<T>): Promise<T | string> {
  try {
    return await work;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    return code;
  }
}

class SideBySide {
  readonly #mountPoint: string;
  readonly #directory: string;
  readonly #bucket: Bucket;
  readonly #pick: (below: number) => number;
  readonly #pairs: Pair[] = [];
  readonly trace: string[] = [];

  constructor(
    places: { mountPoint: string; directory: string },
    bucket: Bucket,
    pick: (below: number) => number,
  ) {
    this.#mountPoint = places.mountPoint;
    this.#directory = places.directory;
    this.#bucket = bucket;
    this.#pick = pick;
  }

  async step(): Promise<void> {
    const choices = [
      ...[this.#open, this.#open, this.#write, this.#write, this.#write, this.#append],
      ...[this.#truncate, this.#truncatePath, this.#read, this.#close, this.#close, this.#fsync],
      ...[this.#rename, this.#unlink],
    ];
    await choices[this.#pick(choices.length)]?.();
  }

  async finish(): Promise<void> {
    while (this.#pairs.length > 0) await this.#close();
    for (const name of names) await this.#compare(name);
  }

  readonly #open = async (): Promise<void> => {
    if (this.#pairs.length >= 4) return;
    const name = this.#name();
    const flags = ['r+', 'a+', 'w+', 'wx+', 'r+', 'a+'][this.#pick(6)] ?? 'r+';
    this.trace.push(`open ${name} ${flags}`);
    const local = await outcome(open(join(this.#directory, name), flags));
    const mounted = await outcome(open(join(this.#mountPoint, name), flags));
    if (typeof local === 'string' || typeof mounted === 'string') {
      this.#same('open', mounted, local);
      return;
    }
    this.#pairs.push({ name, mounted, local });
  };

  readonly #write = async (): Promise<void> => {
    const pair = this.#somePair();
    if (pair === undefined) return;
    const { size } = await pair.local.stat();
    const isLarge = this.#pick(8) === 0;
    const data = randomBytes(1 + this.#pick(isLarge ? 3 * mebibyte : 20_000));
    const offset = Math.min(this.#pick(size + 5000), largest - data.length);
    await this.#writeBoth(pair, data, offset);
  };

  readonly #append = async (): Promise<void> => {
    const pair = this.#somePair();
    if (pair === undefined) return;
    const { size } = await pair.local.stat();
    const data = randomBytes(1 + this.#pick(this.#pick(6) === 0 ? 6 * mebibyte : 50_000));
    if (size + data.length <= largest) await this.#writeBoth(pair, data, size);
  };

  readonly #truncate = async (): Promise<void> => {
    const pair = this.#somePair();
    if (pair === undefined) return;
    const size = this.#newSize((await pair.local.stat()).size);
    this.trace.push(`ftruncate ${pair.name ?? 'unlinked'} ${size}`);
    await pair.local.truncate(size);
    await pair.mounted.truncate(size);
  };

  readonly #truncatePath = async (): Promise<void> => {
    const name = this.#name();
    const size = this.#newSize(100_000);
    this.trace.push(`truncate ${name} ${size}`);
    const local = await outcome(truncate(join(this.#directory, name), size));
    this.#same('truncate', await outcome(truncate(join(this.#mountPoint, name), size)), local);
  };

  readonly #read = async (): Promise<void> => {
    const pair = this.#somePair();
    // What a file without a name keeps of its base is gone from S3.
    if (pair?.name === undefined) return;
    const { size } = await pair.local.stat();
    const offset = this.#pick(size + 10);
    const length = this.#pick(200_000);
    this.trace.push(`read ${pair.name} ${offset}+${length}`);
    const [mounted, local] = [Buffer.alloc(length), Buffer.alloc(length)];
    const got = await pair.mounted.read(mounted, 0, length, offset);
    const want = await pair.local.read(local, 0, length, offset);
    this.#same('bytes read', got.bytesRead, want.bytesRead);
    if (!mounted.equals(local)) throw new Error(`bytes at ${offset} of ${pair.name} differ`);
  };

  readonly #fsync = async (): Promise<void> => {
    const pair = this.#somePair();
    if (pair === undefined) return;
    this.trace.push(`fsync ${pair.name ?? 'unlinked'}`);
    await pair.mounted.sync();
    if (pair.name !== undefined) await this.#compareStored(pair.name);
  };

  readonly #close = async (): Promise<void> => {
    const [pair] = this.#pairs.splice(this.#pick(this.#pairs.length), 1);
    if (pair === undefined) return;
    this.trace.push(`close ${pair.name ?? 'unlinked'}`);
    await pair.local.close();
    await pair.mounted.close();
    if (pair.name !== undefined) await this.#compare(pair.name);
  };

  readonly #rename = async (): Promise<void> => {
    const from = this.#name();
    const to = this.#name();
    if (from === to) return;
    this.trace.push(`rename ${from} ${to}`);
    const local = await outcome(rename(join(this.#directory, from), join(this.#directory, to)));
    const mounted = await outcome(rename(join(this.#mountPoint, from), join(this.#mountPoint, to)));
    this.#same('rename', mounted, local);
    if (local !== undefined) return;
    for (const pair of this.#pairs) {
      if (pair.name === to) pair.name = undefined;
      else if (pair.name === from) pair.name = to;
    }
  };

  readonly #unlink = async (): Promise<void> => {
    const name = this.#name();
    this.trace.push(`unlink ${name}`);
    const local = await outcome(unlink(join(this.#directory, name)));
    this.#same('unlink', await outcome(unlink(join(this.#mountPoint, name))), local);
    for (const pair of this.#pairs) if (pair.name === name) pair.name = undefined;
  };

  async #writeBoth(pair: Pair, data: Buffer, offset: number): Promise<void> {
    this.trace.push(`write ${pair.name ?? 'unlinked'} ${offset}+${data.length}`);
    await pair.local.write(data, 0, data.length, offset);
    await pair.mounted.write(data, 0, data.length, offset);
  }

  async #compare(name: string): Promise<void> {
    const local = await outcome(readFile(join(this.#directory, name)));
    const mounted = await outcome(readFile(join(this.#mountPoint, name)));
    if (typeof local === 'string' || typeof mounted === 'string') {
      this.#same(name, mounted, local);
    } else if (!mounted.equals(local)) {
      throw new Error(`${name} differs: ${mounted.length} and ${local.length} bytes`);
    }
    // Another handle may hold changes that are not due in S3 yet.
    if (!this.#pairs.some((pair) => pair.name === name)) await this.#compareStored(name);
  }

  async #compareStored(name: string): Promise<void> {
    const local = await outcome(readFile(join(this.#directory, name)));
    const keys = await this.#bucket.keys(`p/${name}`);
    this.#same(`keys of ${name}`, keys.length, typeof local === 'string' ? 0 : 1);
    if (typeof local === 'string') return;
    const stored = await this.#bucket.bytes(`p/${name}`);
    if (!stored.equals(local)) throw new Error(`${name} in S3 differs`);
  }

  #same(what: string, got: unknown, want: unknown): void {
    if (got !== want) throw new Error(`${what}: ${String(got)} instead of ${String(want)}`);
  }

  #newSize(size: number): number {
    return this.#pick(3) === 0 ? this.#pick(2 * mebibyte) : this.#pick(size + 1000);
  }

  #somePair(): Pair | undefined {
    return this.#pairs[this.#pick(this.#pairs.length)];
  }

  #name(): string {
    return names[this.#pick(names.length)] ?? 'a';
  }
}

const runs: readonly { driver: DriverName; options: readonly string[] }[] = [
  { driver: 'kernel', options: [] },
  { driver: 'kernel', options: ['--interrupted', 'resume'] },
  { driver: 'fuse-native', options: [] },
];

async function runSeed(
  t: Test,
  { driver, options }: (typeof runs)[number],
  seed: number,
): Promise<void> {
  const server = await useServer(t, 'embedded');
  const place = await makePlace(t);
  const mounted = await mountForTest(t, {
    server,
    place,
    driver,
    prefix: 'p/',
    options: ['--part-size', '5MiB', '--access', 'any', ...options],
  });
  const directory = await makeDirectory(place, 'local');
  const places = { mountPoint: mounted.mountPoint, directory };
  const run = new SideBySide(places, server.bucket, seededRandom(seed));
  try {
    for (let step = 0; step < steps; step++) await run.step();
    await run.finish();
  } catch (error) {
    t.comment(run.trace.slice(-40).join('\n'));
    throw new Error(`after ${run.trace.length} operations`, { cause: error });
  }
  t.strictSame(await server.bucket.uploads(), [], 'no multipart upload is left');
}

t.setTimeout(600_000);
for (const [index, run] of runs.entries()) {
  const seed = firstSeed + index;
  const how = [`by ${run.driver}`, ...run.options].join(' ');
  const title = `${steps} random operations ${how} end as on a local disk`;
  void t.test(`${title} (S3JAIL_MODEL_SEED=${seed})`, (t) => runSeed(t, run, seed));
}
