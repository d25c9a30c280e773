/**
 * What users do, on one S3 server, through a real mount and a chrooted sshd: files of all sizes there
 * and back, changed in places, renamed; objects of other programs; two mounts of one prefix; a large
 * directory; mounts that are killed. Afterwards nothing is left behind.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, readdir, rename, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import type { Test } from 'tap';
import { mustRun, runCommand } from '../../lib/demo/child.js';
import { inParallel } from '../support/bucket.js';
import { succeeded, succeededQuietly } from '../support/expect.js';
import { startJail, type Jail } from '../support/jail.js';
import { sha256OfFile, writeRandomFile } from '../support/local-files.js';
import { mountForTest } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import type { RealServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import { killRounds } from './kill-rounds.js';
import { deviationsOf } from './store-deviations.js';
import { until } from '../support/until.js';

/** the default of `--part-size` */
const partSize = 8 * mebibyte;
/** One CopyObject copies up to this, parts above. */
const copiedByParts = 256 * mebibyte + 1;
const entries = 5000;
const home = 'home/alice/';

export async function serverRound(t: Test, server: RealServer): Promise<void> {
  t.setTimeout(900_000);
  const jail = await startJail(t, { server, driver: 'kernel', prefix: home });

  await t.test('every size comes back as it went', async (t) => {
    const sizes = [0, 1, partSize - 1, partSize, partSize + 1, 30_000_001, 200 * mebibyte];
    for (const size of sizes) {
      const hash = await writeRandomFile(join(jail.local, 'sized'), size);
      succeededQuietly(t, await jail.sftp('put sized', 'get sized back'), `${size} bytes`);
      t.equal(await sha256OfFile(join(jail.local, 'back')), hash, `${size} bytes come back`);
      t.equal((await jail.bucket.head(`${home}sized`)).ContentLength, size, 'and are in S3');
    }
  });

  await t.test('reput completes a file that was cut short', async (t) => {
    const hash = await writeRandomFile(join(jail.local, 'file'), 21 * mebibyte + 5);
    await copyFile(join(jail.local, 'file'), join(jail.local, 'head'));
    await truncate(join(jail.local, 'head'), 13 * mebibyte);
    succeeded(t, await jail.sftp('put head file', 'reput file'), 'reput');
    t.equal(await jail.bucket.sha256(`${home}file`), hash);
  });

  await t.test('a file is appended to, edited in the middle and cut', (t) => edits(t, jail));

  await t.test('files and directories are renamed, large ones too', (t) => renames(t, jail));

  await t.test('objects of other programs are read, appended to and renamed', (t) =>
    foreignObjects(t, jail),
  );

  await t.test('of two mounts one creates a name', (t) => exclusive(t, jail, server));

  await t.test(`${entries} entries are listed`, async (t) => {
    const names = Array.from({ length: entries }, (_, n) => `n${String(n).padStart(5, '0')}`);
    await inParallel(24, names, (name) => jail.bucket.put(`${home}many/${name}`, name));
    await shown(jail.path('many'));
    t.strictSame((await readdir(jail.path('many'))).sort(), names);
    const listing = await jail.sftp('ls -1 many');
    t.equal(listing.stdout.split('\n').filter((line) => /n\d{5}/.test(line)).length, entries);
    const { size } = await stat(jail.path('many/n04999'));
    t.equal(size, 6);
  });

  await t.test('nothing half-done is left', async (t) => {
    t.strictSame(await jail.bucket.uploads(), []);
    const strangers = (await jail.bucket.keys()).filter(
      (key) => !key.startsWith(home) || key.includes('.s3jail-'),
    );
    t.strictSame(strangers, []);
  });

  await t.test('kills under load lose nothing', (t) =>
    killRounds(t, jail.server, { kills: 2, seed: Date.now() % 1_000_000 }),
  );
}

/** The same commands in the mount and on the local disk end with the same bytes. */
async function edits(t: Test, jail: Jail): Promise<void> {
  await writeRandomFile(join(jail.local, 'data'), 30 * mebibyte + 12_345);
  const commands = [
    'cat $DATA > edited',
    'echo more >> edited',
    'dd if=$DATA of=edited bs=100000 seek=150 count=2 conv=notrunc status=none',
    'truncate -s -1 edited',
    'truncate -s 17000000 edited',
    'truncate -s 8388609 edited; echo tail >> edited',
    'truncate -s 3000000 edited; echo tail >> edited',
  ];
  for (const command of commands) {
    for (const place of [jail.path(''), jail.local]) {
      const script = `DATA=${join(jail.local, 'data')}; cd ${place}; ${command}`;
      await mustRun('sh', ['-ec', script]);
    }
    const wanted = await sha256OfFile(join(jail.local, 'edited'));
    t.equal(await sha256OfFile(jail.path('edited')), wanted, command);
    t.equal(await jail.bucket.sha256(`${home}edited`), wanted, 'in S3 too');
  }
}

async function renames(t: Test, jail: Jail): Promise<void> {
  const local = join(jail.local, 'large');
  // Random bytes of that many would take longer than all the rest; holes are zeros.
  await mustRun('sh', ['-ec', `head -c 9000000 /dev/urandom > ${local}`]);
  await truncate(local, copiedByParts);
  succeededQuietly(t, await jail.sftp('put large', 'rename large moved'), 'a large file');
  t.equal(await streamedSha256(jail.path('moved')), await streamedSha256(local));
  t.strictSame(await jail.bucket.keys(`${home}large`), []);
  succeededQuietly(t, await jail.sftp('put data small', 'rename small smaller'), 'a file of parts');
  t.equal(await sha256OfFile(jail.path('smaller')), await sha256OfFile(join(jail.local, 'data')));
  const directory = await jail.sftp('mkdir d', 'rename d e', 'rmdir e');
  succeededQuietly(t, directory, 'an empty directory');
}

async function streamedSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) hash.update(piece);
  return hash.digest('hex');
}

/** As aws-cli, boto3 and the SDK store large files: in parts, with the checksums they send unasked. */
async function foreignObjects(t: Test, jail: Jail): Promise<void> {
  const { url, credentials, bucket } = jail.server;
  const client = new S3Client({
    endpoint: url,
    credentials,
    region: 'us-east-1',
    forcePathStyle: true,
    // Ceph 16 takes none of these.
    ...(deviationsOf(jail.server.name).storesChecksums
      ? {}
      : { requestChecksumCalculation: 'WHEN_REQUIRED' }),
  });
  t.teardown(() => client.destroy());
  const local = join(jail.local, 'foreign');
  await writeRandomFile(local, 20 * mebibyte + 77);
  const upload = new Upload({
    client,
    params: { Bucket: bucket.name, Key: `${home}foreign`, Body: createReadStream(local) },
    partSize,
  });
  await upload.done();
  await shown(jail.path('foreign'));
  t.equal(await sha256OfFile(jail.path('foreign')), await sha256OfFile(local), 'read');
  for (const place of [jail.path('foreign'), local]) {
    await mustRun('sh', ['-ec', `echo appended >> ${place}`]);
  }
  const wanted = await sha256OfFile(local);
  t.equal(await jail.bucket.sha256(`${home}foreign`), wanted, 'appended to');
  await rename(jail.path('foreign'), jail.path('renamed'));
  t.equal(await jail.bucket.sha256(`${home}renamed`), wanted, 'renamed');
  t.equal(await sha256OfFile(jail.path('renamed')), wanted, 'and read again');
}

/**
 * Waits for what others have stored: its absence may be believed for --metadata-ttl. Never by a call
 * that blocks: the proxy in front of S3 runs in this process.
 */
async function shown(path: string): Promise<void> {
  await until(() =>
    stat(path).then(
      () => true,
      () => false,
    ),
  );
}

/** The shell's `set -C` is O_EXCL. */
async function exclusive(t: Test, jail: Jail, server: RealServer): Promise<void> {
  const other = await mountForTest(t, {
    server: jail.server,
    driver: 'kernel',
    place: await makePlace(t),
    prefix: home,
  });
  const isKept = deviationsOf(server).conditions.put.absent;
  for (let round = 0; round < 5; round++) {
    const name = `lock${round}`;
    const places = [jail.path(name), join(other.mountPoint, name)];
    const ends = await Promise.all(
      places.map((place, who) => runCommand('sh', ['-c', `set -C; echo ${who} > ${place}`])),
    );
    const winners = ends.flatMap(({ status }, who) => (status === 0 ? [String(who)] : []));
    const content = (await jail.bucket.text(`${home}${name}`)).trim();
    t.ok(winners.includes(content), 'what is stored is of one who was told so');
    if (isKept) t.equal(winners.length, 1, 'and nobody else was');
  }
  await other.stop();
}
