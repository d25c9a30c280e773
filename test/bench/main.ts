/**
 * The same work by s3jail with each driver and by the peers found here, on one S3 endpoint, in turns;
 * see scripts/bench for the options. Every measurement has a mount of its own, so that caches are
 * empty, and the bare SDK shows what reading and writing the same parts costs without a mount.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { startEndpoint } from '../../lib/endpoint/endpoint.js';
import { Bucket, inParallel } from '../support/bucket.js';
import { contestants, type Contestant, type Place } from './contestants.js';
import { startLink, type Link } from './link.js';
import { markdown, median, svg, type Result } from './report.js';
import { fullSizes, rows, shortSizes, timed, type Row, type Sizes } from './rows.js';

const { values: options } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    rows: { type: 'string' },
    peers: { type: 'string' },
    repeat: { type: 'string', default: '3' },
    delay: { type: 'string', default: '0,20' },
    rate: { type: 'string', default: '100' },
    out: { type: 'string' },
  },
});
const partSize = 8 * 1024 * 1024;
const sizes = options.short ? shortSizes : fullSizes;

function chosen<T extends { readonly name: string }>(all: readonly T[], names?: string): T[] {
  return names === undefined ? [...all] : all.filter(({ name }) => names.split(',').includes(name));
}

/** The floor: the same parts by the SDK alone. */
function bareSdk(row: Row, sizes: Sizes, place: Place): (() => Promise<void>) | undefined {
  const { url: endpoint, bucket: Bucket } = place;
  const config = { endpoint, credentials: place, region: 'us-east-1', forcePathStyle: true };
  const size = sizes.largeMib * 2 ** 20;
  if (row.name === 'read') {
    return async () => {
      const client = new S3Client(config);
      const starts = Array.from(
        { length: Math.ceil(size / partSize) },
        (_, part) => part * partSize,
      );
      await inParallel(8, starts, async (start) => {
        const Range = `bytes=${start}-${start + partSize - 1}`;
        const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: 'large', Range }));
        await Body?.transformToByteArray();
      });
      client.destroy();
    };
  }
  if (row.name !== 'write') return undefined;
  return async () => {
    const client = new S3Client(config);
    const params = { Bucket, Key: 'sdk', Body: Buffer.alloc(size) };
    await new Upload({ client, params, partSize, queueSize: 8 }).done();
    client.destroy();
  };
}

async function measure(
  contestant: Contestant | 'bare SDK',
  row: Row,
  { link, place, name }: { link: Link; place: Place; name: string },
): Promise<number | undefined> {
  if (contestant === 'bare SDK') {
    const work = bareSdk(row, sizes, place);
    link.reset();
    const began = performance.now();
    await work?.();
    return work === undefined ? undefined : (performance.now() - began) / 1000;
  }
  try {
    const mount = await contestant.mount(place);
    try {
      link.reset();
      return await timed(row, { path: mount.path, sizes, name });
    } finally {
      await mount.stop();
    }
  } catch (error) {
    console.error(`${row.name}: ${contestant.name}: ${String(error).split('\n')[0]}`);
    return undefined;
  }
}

async function bench(place: Place): Promise<Result[]> {
  const here = chosen(contestants, options.peers).filter(({ isHere }) => isHere());
  const results: Result[] = [];
  const client = new S3Client({
    ...{ endpoint: place.url, credentials: place, region: 'us-east-1', forcePathStyle: true },
  });
  const bucket = new Bucket(client, place.bucket);
  for (const row of chosen(rows, options.rows)) {
    await inParallel(16, [...row.needs(sizes)], async ({ key, size }) => {
      await bucket.put(key, Buffer.alloc(size, key));
    });
    for (const delayMs of options.delay.split(',').map(Number)) {
      const connectionRate = Number(options.rate) * 1e6;
      const link = await startLink({ target: place.url, delayMs, connectionRate });
      const runs = new Map<string, { seconds: number[]; requests: number; bytes: number }>();
      for (let round = 0; round < Number(options.repeat); round++) {
        for (const contestant of [...here, 'bare SDK' as const]) {
          const label = typeof contestant === 'string' ? contestant : contestant.name;
          const name = `new-${delayMs}-${round}-${label.replaceAll(' ', '-')}`;
          const seconds = await measure(contestant, row, {
            ...{ link, place: { ...place, url: link.url }, name },
          });
          const known = runs.get(label) ?? { seconds: [], requests: 0, bytes: 0 };
          if (seconds !== undefined) known.seconds.push(seconds);
          known.requests = link.counts.requests;
          known.bytes = link.counts.sent + link.counts.received;
          runs.set(label, known);
        }
      }
      await link.close();
      for (const [contestant, found] of runs) {
        if (contestant === 'bare SDK' && found.seconds.length === 0) continue;
        results.push({ row: row.name, delayMs, contestant, ...found });
        console.error(
          `${row.name} ${delayMs} ms ${contestant}: ${median(found.seconds).toFixed(3)} s`,
        );
      }
    }
  }
  client.destroy();
  return results;
}

/** The endpoint that the environment names, as scripts/ceph prints it, or the embedded one. */
async function withPlace(work: (place: Place) => Promise<void>): Promise<void> {
  const { S3JAIL_BENCH_URL: url, S3JAIL_BENCH_BUCKET: bucket = 'bench', ...env } = process.env;
  const accessKeyId = env['AWS_ACCESS_KEY_ID'] ?? 'AKIABENCH';
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'] ?? 'secret-of-the-bench';
  if (url !== undefined) {
    await work({ url, bucket, accessKeyId, secretAccessKey });
    return;
  }
  const directory = await mkdtemp(join(tmpdir(), 's3jail-bench-'));
  const credentials = [{ accessKeyId, secretAccessKey }];
  const endpoint = await startEndpoint({ directory, credentials, buckets: [bucket], fsync: false });
  try {
    await work({ url: endpoint.url, bucket, accessKeyId, secretAccessKey });
  } finally {
    await endpoint.close();
    await rm(directory, { recursive: true });
  }
}

await withPlace(async (place) => {
  const results = await bench(place);
  const processor = cpus()[0]?.model ?? 'unknown processor';
  const date = new Date().toISOString().slice(0, 10);
  const caption = `${date}, ${cpus().length} × ${processor}, median of ${options.repeat}`;
  console.log(`${caption}\n\n${markdown(results)}`);
  if (options.out !== undefined) await writeFile(options.out, svg(results, caption));
});
