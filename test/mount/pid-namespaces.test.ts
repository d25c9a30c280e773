/**
 * Containers that share directories of the host, each with a PID namespace of its own: what lives is never
 * taken for dead, and what a container left that is gone is found by the one after it.
 */
import '../support/own-users.js';
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeAccount } from '../../lib/demo/account.js';
import { findLocalUser } from '../../lib/host/accounts.js';
import { Place, run, s3jail } from '../support/command.js';
import { Container } from '../support/container.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

t.setTimeout(300_000);

const resume = ['--interrupted', 'resume'];
const size = 20 * mebibyte;

interface Status {
  readonly state: string;
  readonly report?: { readonly held: readonly { readonly path: string }[] };
}

/** Mounts in the container, at the same place and with the same directories as tests do outside. */
async function mountIn(t: Test, container: Container, place: Place): Promise<void> {
  const args = ['mount', 's3://bucket/alice/', place.mountPoint, ...place.options, ...resume];
  const log = ['--log-file', join(place.base, 'container.log'), '--access', 'any'];
  const ending = await container.run(process.execPath, s3jail, ...args, ...log);
  t.match(ending, { status: 0, stdout: '', stderr: '' }, 'the container has its mount');
}

async function statusIn(container: Container, place: Place): Promise<Status | undefined> {
  const { stdout } = await container.run(process.execPath, s3jail, 'status', '--json');
  const all = JSON.parse(stdout) as ({ mountPoint: string } & Status)[];
  return all.find(({ mountPoint }) => mountPoint === place.mountPoint);
}

/** Writes `size` bytes and is killed before it has closed the file, or stays. */
async function write(container: Container, path: string, isKilled: boolean): Promise<void> {
  const script = `
    const fs = require('fs');
    fs.writeSync(fs.openSync(process.argv[1], 'w'), Buffer.alloc(${size}));
    ${isKilled ? "process.kill(process.pid, 'SIGKILL')" : 'setInterval(() => undefined, 1000)'}`;
  await container.run(process.execPath, '-e', script, path);
}

const isHeld = { state: 'mounted', report: { held: [{ path: '/held' }] } };

void t.test('what a container holds is its own while it lives, then the next one’s', async (t) => {
  const place = await Place.make(t);
  const temp = join(place.base, 'temp', 's3jail-0');
  const uploads = () => place.endpoint.openUploads().map(({ key }) => key);
  const container = await Container.start(t);
  await mountIn(t, container, place);
  await write(container, place.path('held'), true);
  t.match(await statusIn(container, place), isHeld);
  const files = readdirSync(temp, { recursive: true }).sort();

  await place.mount(t, ...resume);
  // Not by a call that waits in this process: S3 is here.
  t.same(await readdir(place.mountPoint), [], 'nobody else sees it');
  t.match(await statusIn(container, place), isHeld, 'nor takes its record away');
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.match(await statusIn(container, place), isHeld);
  t.same(readdirSync(temp, { recursive: true }).sort(), files, 'nor its files');
  t.same(uploads(), ['alice/held'], 'nor its upload');

  const writing = write(container, place.path('open'), false);
  await until(() => uploads().includes('alice/open'));
  await container.end();
  await writing;
  const other = ['mount', 's3://bucket/bob/', place.mountPoint, ...place.options, ...resume];
  t.match(await run(s3jail, [...other, '--log-file', place.log]), { status: 0 });
  t.equal((await run(s3jail, ['unmount', place.mountPoint])).status, 0);
  t.same(uploads(), ['alice/held', 'alice/open'], 'who serves something else does not take it');

  const next = await Container.start(t);
  await mountIn(t, next, place);
  t.match(await statusIn(next, place), isHeld);
  await until(() => uploads().length === 1);
  t.same(uploads(), ['alice/held'], 'what nobody can go on with is aborted');
  const script = 'stat -c %s "$1" && printf end >> "$1" && sha256sum < "$1"';
  const { stdout } = await next.run('sh', '-c', script, 'sh', place.path('held'));
  const whole = createHash('sha256').update(Buffer.alloc(size)).update('end').digest('hex');
  t.equal(stdout, `${size}\n${whole}  -\n`);
  t.same(uploads(), []);
  await next.run(process.execPath, s3jail, 'unmount', place.mountPoint);
  t.same(readdirSync(temp), [], 'and nothing is left');
});

void t.test('a user whose maker is in another container is not abandoned', async (t) => {
  const container = await Container.start(t);
  const account = await makeAccount('s3jail-ns');
  const library = new URL('../../lib/demo/account.js', import.meta.url).href;
  const script = `import('${library}').then(async ({ makeAccount }) => {
    console.log((await makeAccount('s3jail-ns')).name);
  })`;
  const { stdout } = await container.run(process.execPath, '-e', script);
  t.equal(stdout, 's3jail-ns-2\n');
  t.equal(findLocalUser('s3jail-ns')?.uid, account.uid);
  const another = await makeAccount('s3jail-ns');
  t.equal(another.name, 's3jail-ns-3', 'nor is one whose maker cannot be seen');
});
