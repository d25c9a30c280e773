/**
 * kill -9 of the mount at any instant while uploads are interrupted and gone on with: S3 has whole files
 * only, what was acknowledged is published or held, goes on with the bytes it has, and no upload is left.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NoSuchKey } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { mustRun, sendSignal } from '../../lib/demo/child.js';
import { systemErrorCode } from '../../lib/errors.js';
import * as model from '../support/held-generations.js';
import type { Doing, State } from '../support/held-generations.js';
import { mountForTest, type Mounted } from '../support/mounted.js';
import { makeDirectory, makePlace } from '../support/place.js';
import type { TestServer } from '../support/servers.js';
import { until } from '../support/until.js';

const load = fileURLToPath(new URL('../support/held-load.js', import.meta.url));
const names = ['a', 'b', 'c', 'd', 'e'];
const prefix = 'held/';
/** A directory in the mount. */
const inside = 'd';

interface Line {
  readonly name: string;
  readonly doing?: Doing;
  readonly states?: readonly State[];
  readonly failed?: string;
  readonly problem?: string;
}

/** Kills a mount so many times; each fifth time it is told to end instead. */
export async function heldKillRounds(
  t: Test,
  server: TestServer,
  { kills, seed }: { kills: number; seed: number },
): Promise<void> {
  t.setTimeout(60_000 + kills * 60_000);
  const rounds = new Rounds(t, server, await makePlace(t));
  await rounds.begin();
  for (let round = 0; round < kills; round++) await rounds.play(round, seed + round);
  await rounds.end();
  t.comment(JSON.stringify(rounds.counts));
}

class Rounds {
  readonly #t: Test;
  readonly #server: TestServer;
  readonly #place: string;
  #mountPoint = '';
  readonly #data = randomBytes(model.dataSize);
  readonly #states = new Map<string, readonly State[]>(names.map((name) => [name, [{}]]));
  /** begun and not known to have ended */
  readonly #begun = new Map<string, Doing>();
  /** all that was ever put */
  readonly #generations = new Map<string, Set<number>>(names.map((name) => [name, new Set()]));
  readonly counts = { put: 0, resume: 0, remove: 0, heldOverAnEnd: 0, readFromS3: 0 };

  constructor(t: Test, server: TestServer, place: string) {
    this.#t = t;
    this.#server = server;
    this.#place = place;
  }

  async begin(): Promise<void> {
    await writeFile(this.#dataFile, this.#data);
    this.#mountPoint = await makeDirectory(this.#place, 'mnt');
    await this.#server.bucket.put(keyOf(''), '');
  }

  async play(round: number, seed: number): Promise<void> {
    const isToEnd = round % 5 === 4;
    const mounted = await this.#mount(`round ${round}`);
    const states = JSON.stringify(Object.fromEntries(this.#states));
    const args = [load, join(mounted.mountPoint, inside), this.#dataFile, String(seed), states];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface(child.stdout).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      // A mount that ends refuses what comes.
      const { name, failed } = line;
      if (failed !== undefined && !isToEnd) this.#t.fail(`round ${round}: ${failed} of ${name}`);
      this.#note(line);
    });
    let isOver = false;
    const ended = new Promise((resolve) => child.once('close', resolve)).then(() => {
      isOver = true;
    });
    const reading = this.#readUntil(() => isOver);
    await sleep(200 + ((seed * 104_729) % 2500));
    if (isToEnd) await mounted.stop();
    else sendSignal(mounted.child.pid, 'SIGKILL');
    await ended;
    this.#checkRead(await reading, `round ${round}`);
  }

  /** What is held is gone on with or removed, and then nothing is left. */
  async end(): Promise<void> {
    const mounted = await this.#mount('the end');
    for (const [index, name] of names.entries()) {
      const { held } = this.#states.get(name)?.[0] ?? {};
      if (held === undefined) continue;
      const path = join(mounted.mountPoint, inside, name);
      if (index % 2 === 0) {
        await mustRun('rm', [path]);
        this.#states.set(name, [{}]);
        continue;
      }
      const { generation, size } = held;
      const rest = this.#contentOf(generation).subarray(size);
      await appendFile(path, rest);
      this.#states.set(name, [{ published: generation }]);
    }
    await this.#look(mounted, 'the end');
    await mounted.stop();
    this.#t.same(await this.#server.bucket.uploads(), [], 'no upload is left');
    const left = await readdir(mounted.tempDirectory, { recursive: true });
    this.#t.same(left, ['s3jail-0'], 'nor is a temp file');
  }

  async #mount(when: string): Promise<Mounted> {
    const mounted = await mountForTest(this.#t, {
      ...{ server: this.#server, place: this.#place, driver: 'kernel', prefix },
      mountPoint: this.#mountPoint,
      options: ['--interrupted', 'resume', '--part-size', '5MiB', '--access', 'any'],
    });
    await this.#look(mounted, when);
    return mounted;
  }

  /** Compares what the mount shows and S3 has with what may be, and learns which it is. */
  async #look({ mountPoint }: Mounted, when: string): Promise<void> {
    const held = new Set<string>();
    for (const [name, before] of this.#states) {
      const shown = await sizeOfFile(join(mountPoint, inside, name));
      const doing = this.#begun.get(name);
      const stored = await this.#storedAs(name);
      const found = model
        .statesAfter(before, doing, shown)
        .filter(({ published }) => this.#isContent(stored, published));
      if (found.length === 0) {
        const size = stored?.length;
        this.#t.fail(`${when}: ${name} is what it may be`, { before, doing, shown, size });
      }
      this.#t.pass(`${when}: ${name} is what it may be`);
      this.#states.set(name, found);
      if (!found.some((state) => state.held !== undefined)) continue;
      held.add(keyOf(name));
      this.counts.heldOverAnEnd++;
    }
    this.#begun.clear();
    // Aborting goes on beside the first requests.
    await until(async () => {
      const open = await this.#server.bucket.uploads();
      return new Set(open).size === open.length && open.every((key) => held.has(key));
    });
  }

  #note({ name, doing, states, problem }: Line): void {
    if (problem !== undefined) this.#t.fail(`${name} ${problem}`, { states });
    if (states !== undefined) {
      this.#begun.delete(name);
      this.#states.set(name, states);
    }
    if (doing === undefined) return;
    this.#begun.set(name, doing);
    if (doing.kind === 'put') this.#generations.get(name)?.add(doing.generation);
    this.counts[doing.kind]++;
  }

  /** As anybody else reads, past the mount. */
  async #readUntil(isOver: () => boolean): Promise<[name: string, bytes: Buffer][]> {
    const read: [string, Buffer][] = [];
    for (let turn = 0; !isOver(); turn++) {
      const name = names[turn % names.length] ?? '';
      const bytes = await this.#storedAs(name);
      if (bytes !== undefined) read.push([name, bytes]);
      await sleep(100);
    }
    return read;
  }

  #checkRead(read: readonly [name: string, bytes: Buffer][], when: string): void {
    for (const [name, bytes] of read) {
      const known = [...(this.#generations.get(name) ?? [])];
      const isWhole = known.some((generation) => this.#isContent(bytes, generation));
      this.#t.ok(isWhole, `${when}: ${name} is whole in S3, at any time`, {
        size: bytes.length,
        known,
      });
      this.counts.readFromS3++;
    }
  }

  async #storedAs(name: string): Promise<Buffer | undefined> {
    try {
      return await this.#server.bucket.bytes(keyOf(name));
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined;
      throw error;
    }
  }

  #isContent(bytes: Buffer | undefined, generation: number | undefined): boolean {
    if (generation === undefined || bytes === undefined) return bytes === generation;
    return bytes.equals(this.#contentOf(generation));
  }

  #contentOf(generation: number): Buffer {
    const start = model.offsetOf(generation);
    return this.#data.subarray(start, start + model.sizeOf(generation));
  }

  get #dataFile(): string {
    return join(this.#place, 'data');
  }
}

function keyOf(name: string): string {
  return `${prefix}${inside}/${name}`;
}

async function sizeOfFile(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
