/** Files of keys for SSE-C, and where such keys are not taken. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { customerKeyBytes } from '../../lib/customer-key.js';
import { planMount, storeOptionsOf } from '../../lib/options/mount-plan.js';
import { UsageError, type WrittenOption } from '../../lib/options/options.js';

const ambient = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };

/** The keys of a mount in base64, or what is wrong. */
function keysOf(
  given: { options?: readonly string[]; list?: string; env?: Record<string, string> } = {},
): readonly string[] | string {
  const commandLine = (given.options ?? []).map((option): WrittenOption => {
    const [name = '', text] = option.split('=');
    return { name, text };
  });
  const request = {
    operands: ['s3://bucket/', '/mnt'],
    lists: given.list === undefined ? [] : [given.list],
    ...{ commandLine, sloppy: false },
  };
  try {
    const plan = planMount(request, { environment: given.env ?? {}, ambient });
    return storeOptionsOf(plan).customerKeys.map((key) => key.base64);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

async function keyFiles(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 's3jail-keys-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return async (name: string, content: string | Buffer): Promise<string> => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
}

const [one, two, three] = [1, 2, 3].map((n) =>
  Buffer.alloc(customerKeyBytes, n).toString('base64'),
);

void t.test('a file holds 32 bytes, or lines of base64', async (t) => {
  const file = await keyFiles(t);
  const raw = await file('raw', Buffer.alloc(customerKeyBytes, 1));
  const lines = await file('lines', `# newest\n${two ?? ''}\r\n\n${three ?? ''}`);
  t.strictSame(keysOf({ options: [`sse-c-key-file=${raw}`] }), [one]);
  t.strictSame(keysOf({ options: [`sse-c-key-file=${lines}`] }), [two, three]);
  const odd = await file('odd', `${'\n'.repeat(16)}${'#'.repeat(16)}`);
  t.equal(
    keysOf({ options: [`sse-c-key-file=${odd}`] }).length,
    1,
    '32 bytes are a key, whatever they are',
  );
  t.strictSame(keysOf(), []);
});

void t.test('given again it adds, in one place; the place that wins, wins whole', async (t) => {
  const file = await keyFiles(t);
  const [a, b, c] = [
    await file('a', one ?? ''),
    await file('b', two ?? ''),
    await file('c', three ?? ''),
  ];
  const again = [`sse-c-key-file=${a}`, `sse-c-key-file=${b}`];
  t.strictSame(keysOf({ options: again }), [one, two]);
  t.strictSame(keysOf({ list: `sse-c-key-file=${b},rw,sse-c-key-file=${a}:${c}` }), [
    two,
    one,
    three,
  ]);
  const env = { S3JAIL_SSE_C_KEY_FILE: `${c}:${a}` };
  t.strictSame(keysOf({ env }), [three, one]);
  t.strictSame(keysOf({ env, options: [`sse-c-key-file=${b}`] }), [two]);
});

void t.test("what is no key, or not only its owner's, is refused and not repeated", async (t) => {
  const file = await keyFiles(t);
  const secret = randomBytes(20).toString('base64');
  const refused = (path: string): string => {
    const told = keysOf({ options: [`sse-c-key-file=${path}`] });
    if (typeof told !== 'string') return 'taken';
    t.notOk(told.includes(secret.slice(0, 8)), 'nothing of what is in it');
    return told;
  };
  t.match(
    refused(await file('short', secret)),
    /line 1 of .* is no key .* openssl rand -base64 32/,
  );
  t.match(refused(await file('long', `${one ?? ''}\n${secret}${secret}\n`)), /line 2 of/);
  t.match(
    refused(await file('trailing', Buffer.concat([Buffer.alloc(32, 65), Buffer.from('\n')]))),
    /line 1/,
  );
  t.match(refused(await file('empty', '# none\n')), /holds no key/);
  t.match(refused('/nowhere/key'), /cannot be read: ENOENT/);
  t.match(refused(tmpdir()), /no regular file/);
  const open = await file('open', one ?? '');
  await chmod(open, 0o640);
  t.match(refused(open), /holds a key .* mode 0640; chown it .* chmod 600/);
});

void t.test('a key goes with no other encryption, and over no open wire', async (t) => {
  const file = await keyFiles(t);
  const key = `sse-c-key-file=${await file('key', one ?? '')}`;
  t.match(keysOf({ options: [key, 'sse=AES256'] }), /--sse-c-key-file .* contradicts --sse/);
  t.match(keysOf({ options: [key, 'endpoint-url=http://minio.example:9000'] }), /needs https/);
  t.match(keysOf({ options: [key], env: { AWS_ENDPOINT_URL: 'http://10.0.0.1' } }), /needs https/);
  t.match(
    keysOf({ options: [key], env: { AWS_ENDPOINT_URL_S3: 'http://10.0.0.1' } }),
    /needs https/,
  );
  t.strictSame(keysOf({ options: [key, 'endpoint-url=https://minio.example'] }), [one]);
  for (const host of ['127.0.0.1:9000', 'localhost', '[::1]:9000']) {
    t.strictSame(keysOf({ options: [key, `endpoint-url=http://${host}`] }), [one], host);
  }
});
