/** What each operation costs in S3 requests, counted between the mount and the server. */
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readdir,
  rename,
  rmdir,
  stat,
  statfs,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { inParallel } from '../support/bucket.js';
import { succeeded } from '../support/expect.js';
import type { ActionCounts } from '../support/fault-proxy.js';
import { startJail, type Jail } from '../support/jail.js';
import { writeRandomFile } from '../support/local-files.js';
import { forEachDriver, type Setting } from '../support/mounted.js';
import { serverNames } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';
import { deviationsOf } from '../suites/store-deviations.js';

const lookup: ActionCounts = { HeadObject: 1, ListObjectsV2: 1 };

forEachDriver(t, serverNames(), requestCases);

async function requestCases(t: Test, setting: Setting): Promise<void> {
  // So long a TTL that only what the mount has never seen is asked for.
  const jail = await startJail(t, { ...setting, options: ['--metadata-ttl', '10m'] });
  const { bucket } = jail;

  await t.test('logging in costs nothing', async (t) => {
    await costs(t, jail, {}, async () => succeeded(t, await jail.sftp('pwd'), 'pwd'));
  });

  await t.test('what the server can do is found out once for a mount', async () => {
    await writeFile(jail.path('first-small'), 'x');
    await writeFile(jail.path('first-large'), Buffer.alloc(9 * mebibyte));
    await unlink(jail.path('first-small'));
    await unlink(jail.path('first-large'));
  });

  await t.test('a name never seen costs a HEAD and a LIST, there or not', async (t) => {
    await bucket.put('cold/file', 'x');
    await costs(t, jail, lookup, () => stat(jail.path('cold')));
    await costs(t, jail, lookup, () => stat(jail.path('cold/file')));
    const absent = (): Promise<unknown> => t.rejects(stat(jail.path('absent')), { code: 'ENOENT' });
    await costs(t, jail, lookup, absent);
  });

  await t.test('a listing costs a LIST for each 1,000 entries, and all else in it nothing', (t) =>
    listingCases(t, jail),
  );

  await t.test('put of a new small file costs one PUT beside the look-up', async (t) => {
    await writeRandomFile(join(jail.local, 'small'), 100_000);
    const budget = { ...lookup, PutObject: 1 };
    await costs(t, jail, budget, async () => succeeded(t, await jail.sftp('put small'), 'put'));
  });

  await t.test('a file costs one PUT up to a part, else its parts and two', async (t) => {
    await mkdir(jail.path('w'));
    await readdir(jail.path('w'));
    const small = Buffer.alloc(8 * mebibyte, 's');
    await costs(t, jail, { PutObject: 1 }, () => writeFile(jail.path('w/small'), small));
    const multipart = {
      CreateMultipartUpload: 1,
      UploadPart: 3,
      CompleteMultipartUpload: 1,
      HeadObject: headsForUpload(setting),
    };
    const large = Buffer.alloc(20 * mebibyte, 'l');
    await costs(t, jail, multipart, () => writeFile(jail.path('w/large'), large));
    await costs(t, jail, { PutObject: 1 }, () => writeFile(jail.path('w/small'), 'replaced'));
  });

  await t.test('reading costs a GET for each part and moves no byte twice', async (t) => {
    const size = 20 * mebibyte;
    await bucket.put('r/large', Buffer.alloc(size, 'r'));
    await readdir(jail.path('r'));
    await costs(t, jail, { GetObject: 3 }, () => readFile(jail.path('r/large')));
    t.equal(jail.proxy.bytes().toClient, size);
  });

  await t.test('unlink costs a DELETE, and a marker when the directory empties', async (t) => {
    await costs(t, jail, { DeleteObject: 1 }, () => unlink(jail.path('w/small')));
    await bucket.put('u/only', 'x');
    await readdir(jail.path('u'));
    const budget = { DeleteObject: 1, PutObject: 1 };
    await costs(t, jail, budget, () => unlink(jail.path('u/only')));
  });

  await t.test('rename of a file costs a copy and a DELETE', async (t) => {
    await writeFile(jail.path('w/one'), '1');
    await writeFile(jail.path('w/two'), '2');
    // Where a DELETE does not look at the version, the mount looks before it.
    const { deletesAnyway } = deviationsOf(setting.server);
    const budget = { CopyObject: 1, DeleteObject: 1, ...(deletesAnyway ? { HeadObject: 1 } : {}) };
    await costs(t, jail, budget, () => rename(jail.path('w/one'), jail.path('w/three')));
    await costs(t, jail, budget, () => rename(jail.path('w/two'), jail.path('w/three')));
  });

  await t.test('mkdir costs a PUT, rmdir a LIST and a DELETE', async (t) => {
    await costs(t, jail, { PutObject: 1 }, () => mkdir(jail.path('w/d')));
    const removal = { ListObjectsV2: 1, DeleteObject: 1 };
    await costs(t, jail, removal, () => rmdir(jail.path('w/d')));
  });

  await t.test(
    'rename of a directory asks for both names, and is a PUT and a DELETE',
    async (t) => {
      await mkdir(jail.path('w/from'));
      // The target is asked for anew: another host may have made it within the TTL. The marker's own
      // HEAD brings the metadata that moves along.
      const budget = { ListObjectsV2: 2, HeadObject: 2, PutObject: 1, DeleteObject: 1 };
      await costs(t, jail, budget, () => rename(jail.path('w/from'), jail.path('w/to')));
    },
  );

  await t.test('a refused directory rename costs at most a LIST', async (t) => {
    await writeFile(jail.path('w/to/file'), 'x');
    await costs(t, jail, { ListObjectsV2: 1 }, () =>
      t.rejects(rename(jail.path('w/to'), jail.path('w/no')), { code: 'ENOSYS' }),
    );
  });

  await t.test('what changes nothing in S3 asks nothing of it', async (t) => {
    const path = jail.path('w/large');
    await costs(t, jail, {}, async () => {
      await chmod(path, 0o600);
      await chown(path, 0, 0);
      await statfs(path);
      await t.rejects(utimes(path, 1, 1), { code: 'EPERM' });
      await t.rejects(symlink('w', jail.path('w/link')), { code: 'ENOSYS' });
    });
  });
}

/** What an upload in parts costs beside them where the server lacks something. */
function headsForUpload({ server, driver }: Setting): number {
  const { conditions, namesVersions } = deviationsOf(server);
  // With libfuse every new name is stored under If-None-Match: O_EXCL cannot be seen.
  const looksFirst = driver === 'fuse-native' && !conditions.complete.absent;
  return (namesVersions ? 0 : 1) + (looksFirst ? 1 : 0);
}

async function listingCases(t: Test, jail: Jail): Promise<void> {
  const names = Array.from({ length: 1001 }, (_, index) => `n${String(index).padStart(5, '0')}`);
  await inParallel(16, names, (name) => jail.bucket.put(`many/${name}`, name));
  // The directory itself is looked up first.
  await stat(jail.path('many'));
  await costs(t, jail, { ListObjectsV2: 2 }, async () => {
    const ending = await jail.sftp('ls -ln many');
    succeeded(t, ending, 'ls -ln');
    const shown = [...ending.stdout.matchAll(/ many\/(n\d+)$/gm)].map((match) => match[1]);
    t.strictSame(shown.sort(), names, 'each name once');
  });
  await costs(t, jail, {}, async () => {
    t.equal((await readdir(jail.path('many'))).length, names.length);
    t.equal((await stat(jail.path('many/n00000'))).size, 6);
    await t.rejects(stat(jail.path('many/absent')), { code: 'ENOENT' });
  });
}

/** `action` needs no more than these requests. */
async function costs(
  t: Test,
  jail: Jail,
  budget: ActionCounts,
  action: () => Promise<unknown>,
): Promise<void> {
  jail.proxy.reset();
  await action();
  const excess = jail.proxy.log.filter(
    ({ action }, index, log) =>
      log.slice(0, index + 1).filter((other) => other.action === action).length >
      (budget[action] ?? 0),
  );
  t.strictSame(
    excess.map(({ action, key, query }) => `${action} ${key}?${query}`),
    [],
    `not more than ${JSON.stringify(budget)}`,
  );
}
