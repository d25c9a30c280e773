/**
 * kill -9 of the endpoint in its own process: what it acknowledged is there, whole, and nothing else.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import {
  temporaryDirectory,
  testBucket,
  testKey,
  useClient,
  useEndpoint,
} from '../support/embedded.js';

const Bucket = testBucket;
const program = fileURLToPath(new URL('../../../scripts/s3-endpoint', import.meta.url));

interface Process {
  readonly url: string;
  readonly child: ChildProcess;
}

async function startProcess(t: Test, directory: string): Promise<Process> {
  const child = spawn(program, ['--directory', directory, '--bucket', Bucket], {
    env: {
      ...process.env,
      AWS_ACCESS_KEY_ID: testKey.accessKeyId,
      AWS_SECRET_ACCESS_KEY: testKey.secretAccessKey,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  for await (const line of createInterface(child.stdout)) return { url: line, child };
  throw new Error('the endpoint ended before it said its URL');
}

async function kill({ child }: Process): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function md5(client: S3Client, Key: string): Promise<string> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  const hash = createHash('md5');
  for await (const piece of Body as AsyncIterable<Uint8Array>) hash.update(piece);
  return `"${hash.digest('hex')}"`;
}

void t.test('after kill -9 every acknowledged write is there, whole', async (t) => {
  const directory = await temporaryDirectory(t);
  const process = await startProcess(t, directory);
  const client = useClient(t, process.url);
  /** What each key was last acknowledged to hold; null: nothing. */
  const acknowledged = new Map<string, string | null>();
  /** What each worker's last request was to make of its key. */
  const underWay = new Map<string, string | null>();
  let writes = 0;
  const write = async (worker: number): Promise<void> => {
    for (let round = 0; ; round++) {
      const Key = `worker ${worker}/key ${round % 5}`;
      const removes = round % 7 === 6;
      const Body = Buffer.alloc(1 + ((round * 104_729) % 300_000), `${worker} ${round}`);
      const etag = removes ? null : `"${createHash('md5').update(Body).digest('hex')}"`;
      underWay.set(Key, etag);
      if (removes) await client.send(new DeleteObjectCommand({ Bucket, Key }));
      else await client.send(new PutObjectCommand({ Bucket, Key, Body }));
      underWay.delete(Key);
      acknowledged.set(Key, etag);
      writes++;
    }
  };
  // Each worker ends when its request is cut off by the kill.
  const workers = Array.from({ length: 6 }, (_, worker) => write(worker).catch(() => undefined));
  while (writes < 100) await new Promise(setImmediate);
  await kill(process);
  await Promise.all(workers);

  const endpoint = await useEndpoint(t, { directory });
  const again = useClient(t, endpoint.url);
  const present = new Set(endpoint.keys(Bucket));
  for (const key of new Set([...acknowledged.keys(), ...underWay.keys()])) {
    const found = present.has(key) ? await md5(again, key) : null;
    const allowed = [acknowledged.get(key) ?? null];
    // The request that was cut off may have taken effect.
    if (underWay.has(key)) allowed.push(underWay.get(key) ?? null);
    t.ok(allowed.includes(found), `${key} holds what it must`);
  }
  for (const key of present) {
    const { ETag } = await again.send(new HeadObjectCommand({ Bucket, Key: key }));
    t.equal(await md5(again, key), ETag, 'entity tag and bytes belong together');
  }
  const blobs = await readdir(join(directory, 'blobs'));
  t.ok(blobs.length <= present.size, 'no bytes without an object are left');
});

void t.test('an upload goes on after kill -9 with the parts it had', async (t) => {
  const directory = await temporaryDirectory(t);
  const process = await startProcess(t, directory);
  const client = useClient(t, process.url);
  const target = { Bucket, Key: 'k' };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const upload = { ...target, UploadId };
  const part = await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: 'part' }));
  await kill(process);

  const endpoint = await useEndpoint(t, { directory });
  const again = useClient(t, endpoint.url);
  const { Parts } = await again.send(new ListPartsCommand(upload));
  t.match(Parts, [{ PartNumber: 1, Size: 4, ETag: part.ETag }]);
  const complete = new CompleteMultipartUploadCommand({
    ...upload,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.ETag }] },
  });
  const done = await again.send(complete);
  await endpoint.close();

  const third = await useEndpoint(t, { directory });
  const last = useClient(t, third.url);
  const repeated = await last.send(complete);
  t.equal(repeated.ETag, done.ETag, 'a completion is known after a restart');
  t.strictSame(third.openUploads(), []);
  t.strictSame(third.keys(Bucket), ['k']);
});
