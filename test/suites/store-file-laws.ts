/**
 * Laws of files as a mount makes them, by way of the core: of every size about a part, changed where
 * they are, renamed, and as other programs have left them.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { crc32 } from 'node:zlib';
import { Filesystem } from '../../lib/filesystem/filesystem.js';
import { silentLog } from '../../lib/log.js';
import { base64Crc32 } from '../../lib/s3/stored-checksum.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import type { Bucket } from '../support/bucket.js';
import { Program, defaultSettings } from '../support/core.js';
import { mebibyte } from '../support/sizes.js';
import {} from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

const partSize = 8 * mebibyte;

export async function fileLaws(t: Test, setup: LawSetup): Promise<void> {
  const { bucket, proxy } = setup;

  await t.test('files of every size about a part', async (t) => {
    const { store } = setup.makeStore(t, { partSize });
    const program = await useProgram(t, store);
    for (const size of [0, 1, partSize - 1, partSize, partSize + 1, 30_000_000]) {
      const content = randomBytes(size);
      await program.put(`/f${size}`, content);
      t.ok((await program.get(`/f${size}`)).equals(content), `${size} bytes`);
      const other = await useProgram(t, store);
      t.ok((await other.get(`/f${size}`)).equals(content), 'and for who did not write them');
    }
    t.strictSame(await bucket.uploads(), []);
  });

  await t.test('a file changed where it is, and renamed, is what it has to be', async (t) => {
    const { store } = setup.makeStore(t, { partSize, copyThreshold: 16 * mebibyte });
    const program = await useProgram(t, store);
    let content = randomBytes(30 * mebibyte);
    const change = async (offset: number, bytes: Buffer, end: number): Promise<void> => {
      const handle = await program.open('/x', { access: 'write' });
      await program.write(handle, bytes, offset);
      await program.close(handle);
      const after = content.subarray(offset + bytes.length);
      content = Buffer.concat([content.subarray(0, offset), bytes, after]);
      t.equal(content.length, end);
    };
    const isRight = async (what: string): Promise<void> => {
      const other = await useProgram(t, store);
      t.ok((await other.get('/x')).equals(content), what);
    };
    await program.put('/x', content);
    proxy.reset();
    await change(30 * mebibyte, randomBytes(mebibyte), 31 * mebibyte);
    await isRight('appended to');
    await change(15 * mebibyte, randomBytes(1000), 31 * mebibyte);
    await isRight('edited in the middle');
    t.ok((proxy.counts().UploadPartCopy ?? 0) > 2, 'copied where it stayed as it was');
    await program.truncate('/x', 20 * mebibyte + 1);
    content = content.subarray(0, 20 * mebibyte + 1);
    await isRight('truncated');
    proxy.reset();
    await program.rename('/x', '/y');
    t.ok((proxy.counts().UploadPartCopy ?? 0) > 1, 'renamed by parts');
    await program.rename('/y', '/x');
    await isRight('renamed');
    t.strictSame(await bucket.uploads(), []);
    t.ok(
      proxy.log.every(({ status = 0 }) => status < 500),
      'and the server has not fallen over',
    );
  });

  await t.test('a multipart object as boto3 makes it is read, changed and renamed', async (t) => {
    const { store, prefix } = setup.makeStore(t, { partSize, copyThreshold: 6 * mebibyte });
    const content = randomBytes(18 * mebibyte);
    await putByParts(bucket, `${prefix}theirs`, content);
    const program = await useProgram(t, store);
    const handle = await program.open('/theirs', { access: 'read' });
    t.ok((await program.read(handle)).equals(content), 'to its end');
    await program.close(handle);
    const tail = Buffer.from('tail');
    const more = await program.open('/theirs', { access: 'write' });
    await program.write(more, tail, content.length);
    await program.close(more);
    await program.rename('/theirs', '/ours');
    const other = await useProgram(t, store);
    t.ok((await other.get('/ours')).equals(Buffer.concat([content, tail])));
  });
}

/** A mount of its own, which knows nothing of what another has written. */
export async function useProgram(t: Test, store: S3Store): Promise<Program> {
  const tempDir = await mkdtemp(join(tmpdir(), 's3jail-laws-'));
  t.teardown(() => rm(tempDir, { recursive: true, force: true }));
  const settings = { ...defaultSettings, partSize, tempDir };
  return new Program(new Filesystem({ store, settings, log: silentLog }));
}

/** As boto3 and aws-cli do by default: a composite CRC32, and the sums of the parts at the end. */
export async function putByParts(bucket: Bucket, key: string, content: Buffer): Promise<void> {
  const at = { Bucket: bucket.name, Key: key };
  const { UploadId } = await bucket.client.send(
    new CreateMultipartUploadCommand({ ...at, ChecksumAlgorithm: 'CRC32' }),
  );
  const Parts = [];
  for (let start = 0, PartNumber = 1; start < content.length; start += partSize, PartNumber++) {
    const Body = content.subarray(start, start + partSize);
    const sum = { ChecksumCRC32: base64Crc32(crc32(Body)) };
    const part = { ...at, UploadId, PartNumber, Body, ...sum };
    const { ETag } = await bucket.client.send(new UploadPartCommand(part));
    Parts.push({ PartNumber, ETag, ...sum });
  }
  const done = { ...at, UploadId, MultipartUpload: { Parts } };
  await bucket.client.send(new CompleteMultipartUploadCommand(done));
}
