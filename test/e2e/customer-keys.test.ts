/**
 * Users of a mount under SSE-C: they notice nothing of it, nobody without the key reads anything, and the
 * key is found nowhere but in its file.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { appendFile, mkdir, open, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import type { CustomerKey } from '../../lib/customer-key.js';
import { runCommand } from '../../lib/demo/child.js';
import { program } from '../../lib/demo/mount-process.js';
import { customerFields, newCustomerKey } from '../support/customer-key.js';
import { refusal } from '../support/embedded.js';
import { testOnMinioOverTls } from '../support/minio-over-tls.js';
import { mountForTest } from '../support/mounted.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { useServer, type TestServer } from '../support/servers.js';
import { mebibyte } from '../support/sizes.js';

t.setTimeout(600_000);

void t.test('a mount under SSE-C, on the embedded endpoint', async (t) => {
  await customerKeyCases(t, await useServer(t, 'embedded'), []);
});

testOnMinioOverTls('a mount under SSE-C, on MinIO by TLS', async (t, { server, url, caFile }) => {
  await customerKeyCases(t, server, ['--ca-bundle', caFile], url);
});

async function customerKeyCases(
  t: Test,
  server: TestServer,
  more: readonly string[],
  url = server.url,
): Promise<void> {
  const place = await makePlace(t);
  const [newest, newer, older] = [newCustomerKey(), newCustomerKey(), newCustomerKey()];
  const files = await makeKeyFiles(place, { newest, newer, older });
  const other = otherProgram(server);
  await other.put('old', 'old', older);
  await other.put('plain', 'plain', undefined);
  const mount = async (name: string, ...keys: string[]) => {
    const options = [...more, ...keys.map((file) => `--sse-c-key-file=${file}`)];
    options.push('--log-level', 'trace', '--audit-log', join(place, 'audit'));
    const mountPoint = await makeDirectory(place, name);
    const settings = { server, url, place, prefix: 'home/', driver: 'kernel', options } as const;
    return await mountForTest(t, { ...settings, mountPoint });
  };
  const mounted = await mount('mnt', files.newer, files.older);
  const path = (name: string): string => join(mounted.mountPoint, name);
  const large = randomBytes(20 * mebibyte);

  await writeFile(path('small'), 'small');
  await mkdir(path('dir'));
  await writeFile(path('large'), large);
  t.ok((await readFile(path('large'))).equals(large), 'a large one comes back');
  await appendFile(path('large'), 'end');
  const handle = await open(path('large'), 'r+');
  await handle.write(Buffer.from('edited'), 0, 6, 9 * mebibyte);
  await handle.close();
  large.set(Buffer.from('edited'), 9 * mebibyte);
  const wanted = Buffer.concat([large, Buffer.from('end')]);
  await rename(path('large'), path('dir/moved'));
  t.ok((await readFile(path('dir/moved'))).equals(wanted), 'appended to, edited and renamed');
  t.equal(await readFile(path('old'), 'utf8'), 'old', 'an older key reads');
  t.equal(await readFile(path('plain'), 'utf8'), 'plain', 'what has none is read');
  await rename(path('old'), path('old-moved'));
  await appendFile(path('plain'), ' and more');
  t.strictSame((await readdir(path('.'))).sort(), ['dir', 'old-moved', 'plain', 'small']);

  for (const name of ['small', 'dir/moved', 'old-moved', 'plain']) {
    t.equal(await other.ask(name, newer), 'accepted', `${name} is under the new key`);
    t.not(await other.ask(name, undefined), 'accepted', `${name} is not to be read without`);
    t.not(await other.ask(name, older), 'accepted', `nor with the older one`);
  }

  await t.test('the key is told to nobody', async (t) => {
    const command = (...args: string[]) => runCommand(process.execPath, [program, ...args]);
    const status = await command('status', '--json', mounted.mountPoint);
    const told = [
      mounted.log(),
      ...[status.stdout, status.stderr],
      readFileSync(`/proc/${mounted.child.pid}/cmdline`, 'utf8'),
      readFileSync(`/proc/${mounted.child.pid}/environ`, 'utf8'),
      filesBelow(mounted.tempDirectory),
      readFileSync(join(place, 'audit'), 'utf8'),
    ].join('\n');
    t.match(status.stdout, /"mountPoint"/);
    for (const key of [newer, older]) {
      t.notOk(told.includes(key.base64), 'in base64');
      t.notOk(told.includes(Buffer.from(key.base64, 'base64').toString('hex')), 'in hexadecimal');
    }
  });

  await mounted.stop();
  const rotated = await mount('rotated', files.newest, files.newer);
  t.equal(await readFile(join(rotated.mountPoint, 'small'), 'utf8'), 'small');
  t.ok((await readFile(join(rotated.mountPoint, 'dir/moved'))).equals(wanted));
  await rename(join(rotated.mountPoint, 'small'), join(rotated.mountPoint, 'small-again'));
  t.equal(await other.ask('small-again', newest), 'accepted', 'a rename rotates');
}

async function makeKeyFiles(
  place: string,
  keys: Readonly<Record<'newest' | 'newer' | 'older', CustomerKey>>,
): Promise<Record<'newest' | 'newer' | 'older', string>> {
  const file = async (name: string, content: string | Buffer): Promise<string> => {
    await writeFile(join(place, name), content, { mode: 0o600 });
    return join(place, name);
  };
  return {
    newest: await file('newest', `# since today\n${keys.newest.base64}\n`),
    newer: await file('newer', keys.newer.base64),
    older: await file('older', Buffer.from(keys.older.base64, 'base64')),
  };
}

/** Someone else with keys of their own. */
function otherProgram({ bucket }: TestServer) {
  const at = (name: string) => ({ Bucket: bucket.name, Key: `home/${name}` });
  return {
    put: async (name: string, text: string, key: CustomerKey | undefined): Promise<void> => {
      const Body = Buffer.from(text);
      await bucket.client.send(new PutObjectCommand({ ...at(name), ...customerFields(key), Body }));
    },
    ask: (name: string, key: CustomerKey | undefined): Promise<string> =>
      refusal(bucket.client.send(new HeadObjectCommand({ ...at(name), ...customerFields(key) }))),
  };
}

function filesBelow(directory: string): string {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => readFileSync(join(parentPath, name))).join('\n');
}
