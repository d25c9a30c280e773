/**
 * Every request of the read path × every way it can fail. The caller gets the true bytes and names, or
 * an errno; never fewer, never others, and the mount goes on working.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { FsError } from '../../lib/errors.js';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import type { Fault, ProxyAction } from '../support/faults.js';
import { kibibyte } from '../support/sizes.js';

const large = randomBytes(350 * kibibyte);
const small = randomBytes(3000);
const names = Array.from({ length: 1500 }, (_, index) => `n${String(index).padStart(4, '0')}`);

interface Scenario {
  readonly name: string;
  readonly actions: readonly ProxyAction[];
  readonly settings?: Partial<FilesystemSettings>;
  /** @throws Error where what came is not the truth */
  readonly work: (program: Program) => Promise<void>;
}

const scenarios: Scenario[] = [
  {
    name: 'a file of one part',
    actions: ['GetObject'],
    work: async (program) => mustBe((await program.get('/small')).equals(small)),
  },
  {
    name: 'a file of several parts',
    actions: ['GetObject', 'HeadObject', 'ListObjectsV2'],
    work: async (program) => mustBe((await program.get('/large')).equals(large)),
  },
  {
    name: 'a file of several parts, with memory for half of one',
    actions: ['GetObject'],
    settings: { memoryLimit: 100 * kibibyte },
    work: async (program) => mustBe((await program.get('/large')).equals(large)),
  },
  {
    name: 'a listing of two pages',
    actions: ['ListObjectsV2'],
    work: async (program) => mustBe((await program.list('/many')).join() === names.join()),
  },
];

const faults: [string, Fault, (action: ProxyAction) => boolean][] = [
  ['500', { kind: 'status', status: 500, code: 'InternalError' }, () => true],
  ['503 SlowDown', { kind: 'status', status: 503, code: 'SlowDown' }, () => true],
  ['403 ExpiredToken', { kind: 'status', status: 403, code: 'ExpiredToken' }, () => true],
  ['404', { kind: 'status', status: 404, code: 'NoSuchKey' }, () => true],
  ['416', { kind: 'status', status: 416, code: 'InvalidRange' }, (action) => isGet(action)],
  ['a reset before', { kind: 'reset-before' }, () => true],
  ['a reset after', { kind: 'reset-after' }, () => true],
  ['no answer', { kind: 'no-answer' }, () => true],
  ['a body cut off at once', { kind: 'truncate', afterBytes: 0 }, hasBody],
  ['a body cut off', { kind: 'truncate', afterBytes: 300 }, hasBody],
  ['a body that stalls', { kind: 'stall', afterBytes: 300 }, hasBody],
  ['a flipped bit', { kind: 'flip-response', at: 250 }, (action) => isGet(action)],
  ['a wrong ETag', { kind: 'etag', etag: '"00000000000000000000000000000000"' }, isGet],
  ['a wrong range', { kind: 'range' }, isGet],
  ['a body too long', { kind: 'overlong', bytes: 10 }, isGet],
  ['latency', { kind: 'latency', ms: 50 }, () => true],
  ['a narrow line', { kind: 'bandwidth', bytesPerSecond: 500_000 }, () => true],
];

/** Tried for ever too; each of the others would end as one of these, after many waits. */
const lasting = new Set(['500', '404', '403 ExpiredToken', 'a wrong ETag']);

function isGet(action: ProxyAction): boolean {
  return action === 'GetObject';
}
function hasBody(action: ProxyAction): boolean {
  return action !== 'HeadObject';
}

function mustBe(isTrue: boolean): void {
  if (!isTrue) throw new Error('not the truth');
}

for (const scenario of scenarios) {
  void t.test(`${scenario.name}, with every fault in every request`, async (t) => {
    const core = await useCore(t, {
      settings: { partSize: 100 * kibibyte, metadataTtlMs: 0, ...scenario.settings },
      requestTimeoutMs: 1500,
      maxAttempts: 2,
    });
    await core.bucket.put('alice/small', small);
    await core.bucket.put('alice/large', large);
    if (scenario.name.startsWith('a listing')) await putMany(core);
    for (const action of scenario.actions) {
      for (const [label, fault, applies] of faults) {
        if (!applies(action)) continue;
        const counts = lasting.has(label) ? [1, 1000] : [1];
        for (const count of counts)
          await tryFault(t, core, { scenario, action, label, fault, count });
      }
    }
    await tryRefused(t, core, scenario);
  });
}

/** Nobody listens: every connection is refused. */
async function tryRefused(t: Tap, core: Core, { work }: Scenario): Promise<void> {
  const program = new Program(core.fs);
  await core.proxy.down();
  const failure: unknown = await work(program).then(
    () => undefined,
    (error: unknown) => error,
  );
  await core.proxy.up();
  t.ok(failure instanceof FsError && failure.code === 'EIO', 'refused: EIO', { found: failure });
  t.equal(core.fs.status.handles, 0, 'refused: no handle is left');
  await work(program);
  t.pass('refused: works again');
}

async function putMany(core: Core): Promise<void> {
  const rest = names.values();
  const worker = async (): Promise<void> => {
    for (const name of rest) await core.bucket.put(`alice/many/${name}`, '');
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

interface Trial {
  readonly scenario: Scenario;
  readonly action: ProxyAction;
  readonly label: string;
  readonly fault: Fault;
  readonly count: number;
}

async function tryFault(t: Tap, core: Core, trial: Trial): Promise<void> {
  const { scenario, action, label, fault, count } = trial;
  const program = new Program(core.fs);
  const title = `${action}: ${label}${count > 1 ? ', always' : ', once'}`;
  const injection = core.proxy.inject({ action, count, fault });
  let failure: unknown;
  try {
    await scenario.work(program);
  } catch (error) {
    failure = error;
  }
  core.proxy.clear();
  t.ok(injection.fired > 0, `${title}: the fault was met`);
  t.ok(failure === undefined || failure instanceof FsError, `${title}: the truth or an errno`, {
    found: failure,
  });
  if (count === 1 && isTransient(fault)) t.equal(failure, undefined, `${title}: retried inside`);
  t.equal(core.fs.status.handles, 0, `${title}: no handle is left`);
  t.equal(core.fs.status.downloadMemory, 0, `${title}: no memory is held`);
  await scenario.work(program);
  t.pass(`${title}: works again`);
}

/** A flipped bit is retried where S3's checksum comes along and nobody has seen the bytes yet. */
function isTransient(fault: Fault): boolean {
  if (fault.kind === 'status') return fault.status >= 500;
  return fault.kind !== 'etag' && fault.kind !== 'flip-response';
}

type Tap = Parameters<typeof useCore>[0];
