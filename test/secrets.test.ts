/**
 * A session with everything that is secret (key, session token, the proxy's password), and then a
 * search for it: nobody but the mount's own process, its environment and the wire has it.
 */
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { freePort } from '../lib/demo/sshd.js';
import { startEndpoint, type Endpoint } from '../lib/endpoint/endpoint.js';
import { findRecord } from '../lib/host/runtime-record.js';
import { startForwardProxy } from './support/forward-proxy.js';
import { makePlace } from './support/place.js';

t.setTimeout(600_000);

const s3jail = fileURLToPath(new URL('../bin/s3jail.cjs', import.meta.url));
const key = { accessKeyId: 'AKIASECRETS', secretAccessKey: 'c2VjcmV0/a2V5+b2Y' };
const user = { name: 'jail', password: 'pr0xy:p@ss' };

interface Session {
  readonly place: string;
  readonly mountPoint: string;
  readonly endpoint: Endpoint;
  readonly env: NodeJS.ProcessEnv;
  /** every form in which a secret could show */
  readonly secrets: readonly string[];
  /** what commands printed */
  readonly said: string[];
}

/** Programs that the mount starts, in front of the real ones: they write down what they were given. */
async function watchHelpers(place: string): Promise<string> {
  const directory = join(place, 'bin');
  await mkdir(directory);
  for (const [name, real] of [
    ['mount', '/bin/mount'],
    ['umount', '/bin/umount'],
    ['getent', '/usr/bin/getent'],
  ] as const) {
    const script = join(directory, name);
    const note = `{ echo "${name} $*"; /usr/bin/env; } >>'${place}/helpers'`;
    await writeFile(script, `#!/bin/sh\n${note}\nexec ${real} "$@"\n`);
    await chmod(script, 0o755);
  }
  return directory;
}

async function startSession(t: Test): Promise<Session> {
  const place = await makePlace(t);
  const endpoint = await startEndpoint({
    directory: join(place, 'objects'),
    credentials: [key],
    buckets: ['bucket'],
    fsync: false,
  });
  t.teardown(() => endpoint.close());
  const port = Number(new URL(endpoint.url).port);
  const proxy = await startForwardProxy(t, { user, hosts: { [`s3.private.test:${port}`]: port } });
  const { accessKeyId, secretAccessKey, sessionToken } = endpoint.startSession(
    key.accessKeyId,
    3_600_000,
  );
  const password = encodeURIComponent(user.password);
  const helpers = await watchHelpers(place);
  const mountPoint = join(place, 'mnt');
  await mkdir(mountPoint);
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AWS|S3JAIL)_/.test(name));
  const env = {
    ...Object.fromEntries(inherited),
    PATH: `${helpers}:${process.env['PATH'] ?? ''}`,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    HTTP_PROXY: `http://${user.name}:${password}@${proxy.host}`,
    S3JAIL_ENDPOINT_URL: `http://s3.private.test:${port}`,
    S3JAIL_REGION: 'us-east-1',
    S3JAIL_TEMP_DIR: join(place, 'temp'),
    S3JAIL_LOG_LEVEL: 'trace',
    S3JAIL_LOG_FILE: join(place, 'log'),
  };
  const pair = Buffer.from(`${user.name}:${user.password}`).toString('base64');
  const secrets = [secretAccessKey, sessionToken, user.password, password, pair];
  const session = { place, mountPoint, endpoint, env, secrets, said: [] };
  t.teardown(() => command(session, 'unmount', mountPoint));
  return session;
}

/** Runs a command of s3jail; what it says is kept for the search. */
function command({ env, said }: Session, ...args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [s3jail, ...args], { env }, (_error, out, err) => {
      said.push(out, err);
      resolve(child.exitCode ?? -1);
    });
  });
}

/** Every file below a directory, in one text. */
function filesBelow(directory: string): string {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => readFileSync(join(parentPath, name))).join('\n');
}

function hasNone(t: Test, text: string, { secrets }: Session, where: string): void {
  t.ok(text.length > 0, `${where}: there is something to search`);
  for (const secret of secrets) {
    t.notOk(text.includes(secret), `${where}: nothing secret`);
  }
}

void t.test('no secret leaves the process', async (t) => {
  const session = await startSession(t);
  const { mountPoint, place, endpoint } = session;
  const options = ['--access', 'any', '--uid', '65111', '--timeout', '2s', '--drain-timeout', '2s'];
  const metricsPort = String(await freePort());
  options.push('--metrics', metricsPort, '--audit-log', join(place, 'audit'));
  t.equal(await command(session, 'mount', 's3://bucket/alice/', mountPoint, ...options), 0);
  const pid = findRecord(mountPoint, undefined)?.read()?.pid;
  t.ok(pid);

  await writeFile(join(mountPoint, 'small'), 'small');
  await writeFile(join(mountPoint, 'large'), Buffer.alloc(9 * 1024 * 1024));
  t.equal(await readFile(join(mountPoint, 'small'), 'utf8'), 'small');
  await rename(join(mountPoint, 'large'), join(mountPoint, 'moved'));
  await rm(join(mountPoint, 'moved'));
  const staged = await open(join(mountPoint, 'staged'), 'w');
  await staged.write('not stored yet');
  await command(session, 'status', mountPoint);
  await command(session, 'status', '--json', mountPoint);
  hasNone(t, filesBelow(join(place, 'temp')), session, 'temporary files');
  hasNone(t, readFileSync(`/proc/${pid ?? 0}/cmdline`, 'utf8'), session, 'arguments');

  // From now on every request fails, and every failure is told.
  endpoint.setCredentials([]);
  await t.rejects(staged.close());
  await t.rejects(writeFile(join(mountPoint, 'more'), 'more'));
  await t.rejects(readFile(join(mountPoint, 'never-seen')));
  await command(session, 'status', '--json', mountPoint);
  t.equal(await command(session, 'check', 's3://bucket/alice/', '--log-level', 'debug'), 32);
  t.equal(await command(session, 'mount', 's3://bucket/bob/', join(place, 'bin')), 32);
  const metrics = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  hasNone(t, await metrics.text(), session, 'metrics');
  await command(session, 'unmount', mountPoint);

  hasNone(t, session.said.join('\n'), session, 'what commands printed');
  t.match(session.said.join('\n'), /FAIL/);
  hasNone(t, await readFile(join(place, 'log'), 'utf8'), session, 'the log');
  hasNone(t, await readFile(join(place, 'audit'), 'utf8'), session, 'the audit trail');
  const helpers = await readFile(join(place, 'helpers'), 'utf8');
  hasNone(t, helpers, session, 'environment and arguments of helpers');
  t.match(helpers, /^getent /m);
  t.match(helpers, /^mount /m);
});
