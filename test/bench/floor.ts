/**
 * The floor: what the bare SDK needs to move the same parts with no mount in between, as a program of
 * its own. Says on stderr when it is ready, begins at SIGUSR2, and prints what the work took;
 * wrong bytes end it with a message.
 *
 * Reads and writes 8 MiB parts, eight at a time; small objects, ranges and pages one after another, as
 * the programs ask for them.
 */
import { once } from 'node:events';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { Bucket, inParallel } from '../support/bucket.js';
import { bytesOf, isRight, type Content } from './content.js';
import { parallelFiles, smallSize, type FloorTask, type Sizes } from './rows.js';
import { clientConfig, type Place } from './storage.js';

export interface FloorInput {
  readonly task: FloorTask;
  readonly place: Place;
  readonly sizes: Sizes;
  /** what is written begins with it */
  readonly name: string;
  /** of what is listed */
  readonly prefix: string;
}

export interface FloorOutput {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

const partSize = 8 * 1024 * 1024;
const concurrency = 8;

const { task, place, sizes, name, prefix } = JSON.parse(
  process.env['BENCH_FLOOR'] ?? '',
) as FloorInput;
const client = new S3Client(clientConfig(place));
const size = sizes.largeMib * 2 ** 20;
const large: Content = { size, firstBlock: 0 };

async function get(key: string, content: Content, start: number, length: number): Promise<void> {
  const Range = length < content.size ? `bytes=${start}-${start + length - 1}` : undefined;
  const { Body } = await client.send(
    new GetObjectCommand({ Bucket: place.bucket, Key: key, Range }),
  );
  const bytes = await Body?.transformToByteArray();
  if (bytes?.length !== length || !isRight(bytes, start, content)) {
    throw new Error(`${key}: wrong bytes`);
  }
}

function numberedKey(directory: string, index: number): string {
  return `${directory}/${String(index).padStart(6, '0')}`;
}

function readWhole(parts: readonly { key: string; content: Content; start: number }[]) {
  return inParallel(concurrency, parts, ({ key, content, start }) =>
    get(key, content, start, Math.min(partSize, content.size - start)),
  );
}

function partsOf(
  key: string,
  content: Content,
): { key: string; content: Content; start: number }[] {
  const count = Math.ceil(content.size / partSize);
  return Array.from({ length: count }, (_, part) => ({ key, content, start: part * partSize }));
}

/** As mounts are warmed up before: see measure.ts. */
async function warmUp(): Promise<void> {
  const content = { size: 4 * partSize, firstBlock: 0 };
  const params = { Bucket: place.bucket, Key: 'warm', Body: bytesOf(content) };
  await new Upload({ client, params, partSize, queueSize: concurrency }).done();
  await readWhole(partsOf('warm', content));
}

const tasks: Readonly<Record<FloorTask, () => Promise<unknown>>> = {
  read: () => readWhole(partsOf('large', large)),
  write: () => {
    const params = { Bucket: place.bucket, Key: name, Body: written };
    return new Upload({ client, params, partSize, queueSize: concurrency }).done();
  },
  create: async () => {
    for (let index = 0; index < sizes.smallFiles; index++) {
      const Body = bytesOf({ size: smallSize, firstBlock: index });
      const Key = numberedKey(name, index);
      await client.send(new PutObjectCommand({ Bucket: place.bucket, Key, Body }));
    }
  },
  check: async () => {
    for (let index = 0; index < sizes.smallFiles; index++) {
      const content = { size: smallSize, firstBlock: index };
      await get(numberedKey('small', index), content, 0, smallSize);
    }
  },
  random: async () => {
    for (let index = 0; index < sizes.randomReads; index++) {
      const block = (index * 7919) % (size / 4096);
      await get('large', large, block * 4096, 4096);
    }
  },
  parallel: () => {
    const files = Array.from({ length: parallelFiles }, (_, index) => index);
    return readWhole(
      files.flatMap((index) =>
        partsOf(numberedKey('parallel', index), {
          size: size / parallelFiles,
          firstBlock: 1000 * index,
        }),
      ),
    );
  },
  list: async () => {
    const keys = await new Bucket(client, place.bucket).keys(`${prefix}/`);
    if (keys.length === 0) throw new Error(`nothing below ${prefix}`);
  },
};

// A program that uploads has its bytes at hand.
const written = task === 'write' ? bytesOf(large) : Buffer.alloc(0);
await warmUp();
// The counters are set to zero meanwhile.
const begin = once(process, 'SIGUSR2');
// Waiting for a signal keeps no process alive.
const alive = setInterval(() => undefined, 1000);
process.stderr.write('ready\n');
await begin;
clearInterval(alive);
const began = performance.now();
const cpuBefore = process.cpuUsage();
await tasks[task]();
const { user, system } = process.cpuUsage(cpuBefore);
const output: FloorOutput = {
  seconds: (performance.now() - began) / 1000,
  cpuSeconds: (user + system) / 1e6,
  peakBytes: process.resourceUsage().maxRSS * 1024,
};
process.stdout.write(JSON.stringify(output));
client.destroy();
