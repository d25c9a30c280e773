/**
 * Every request of the write path × every way it can fail. The caller hears of success only if the
 * object is right; after a failure the old object is whole, and nothing is left behind.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { FsError } from '../../lib/errors.js';
import type { HandleId } from '../../lib/operations.js';
import '../support/no-jitter.js';
import { Program, useCore } from '../support/core.js';
import type { Core } from '../support/core.js';
import type { Fault, ProxyAction } from '../support/faults.js';
import { kibibyte } from '../support/sizes.js';

const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;

interface Scenario {
  readonly name: string;
  readonly actions: readonly ProxyAction[];
  readonly memoryLimit?: number;
  /** what is in S3 before, by key */
  readonly before: Readonly<Record<string, Buffer>>;
  readonly work: (program: Program, core: Core) => Promise<void>;
  /** what is in S3 once `work` has succeeded */
  readonly after: Readonly<Record<string, Buffer>>;
}

const small = randomBytes(1000);
const large = randomBytes(350 * kibibyte);
const base = randomBytes(400 * kibibyte);
const more = randomBytes(150 * kibibyte);

/** As a program does it: what a write fails with is told, and the file is closed all the same. */
async function writeAndClose(program: Program, handle: HandleId, data: Buffer): Promise<void> {
  let failure: unknown;
  try {
    for (let at = 0; at < data.length; at += 50 * kibibyte) {
      await program.write(handle, data.subarray(at, at + 50 * kibibyte), at);
    }
  } catch (error) {
    failure = error;
  }
  await program.close(handle);
  if (failure !== undefined) throw new Error('close succeeded after a failed write');
}

const scenarios: Scenario[] = [
  {
    name: 'a small new file',
    actions: ['PutObject'],
    before: {},
    work: (program) => program.put('/f', small),
    after: { f: small },
  },
  {
    name: 'a small file over an old one',
    actions: ['PutObject'],
    before: { f: base },
    work: (program) => program.put('/f', small),
    after: { f: small },
  },
  {
    name: 'a large new file',
    actions: ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'],
    before: {},
    work: async (program) => {
      const handle = await program.create('/f', { exclusive: true });
      await writeAndClose(program, handle, large);
    },
    after: { f: large },
  },
  {
    name: 'a large new file whose parts are too large for memory',
    actions: ['UploadPart'],
    memoryLimit: 2 * partSize,
    before: {},
    work: async (program) => {
      const handle = await program.create('/f');
      await writeAndClose(program, handle, large);
    },
    after: { f: large },
  },
  {
    name: 'appending',
    actions: [
      ...(['HeadObject', 'CreateMultipartUpload', 'UploadPart'] as const),
      ...(['UploadPartCopy', 'CompleteMultipartUpload'] as const),
    ],
    before: { f: base },
    work: async (program) => {
      const handle = await program.open('/f', { access: 'write', append: true });
      await writeAndClose(program, handle, more);
    },
    after: { f: Buffer.concat([base, more]) },
  },
  {
    name: 'a change in the middle',
    actions: ['GetObject', 'UploadPart', 'UploadPartCopy', 'CompleteMultipartUpload'],
    before: { f: base },
    work: async (program) => {
      const handle = await program.open('/f', { access: 'write' });
      await program.write(handle, small, 200 * kibibyte);
      await program.close(handle);
    },
    after: {
      f: Buffer.concat([
        base.subarray(0, 200 * kibibyte),
        small,
        base.subarray(200 * kibibyte + 1000),
      ]),
    },
  },
  {
    name: 'rename',
    actions: ['CopyObject', 'DeleteObject'],
    before: { f: base, g: small },
    work: (program) => program.rename('/f', '/g'),
    after: { g: base },
  },
  {
    name: 'unlink',
    actions: ['DeleteObject'],
    before: { f: base, g: small },
    work: (program) => program.unlink('/f'),
    after: { g: small },
  },
  {
    name: 'mkdir',
    actions: ['PutObject'],
    before: {},
    work: (program) => program.mkdir('/d'),
    after: { 'd/': Buffer.alloc(0) },
  },
];

const faults: [string, Fault, (action: ProxyAction) => boolean][] = [
  ['500', { kind: 'status', status: 500, code: 'InternalError' }, () => true],
  ['503 SlowDown', { kind: 'status', status: 503, code: 'SlowDown' }, () => true],
  ['403 ExpiredToken', { kind: 'status', status: 403, code: 'ExpiredToken' }, () => true],
  ['507', { kind: 'status', status: 507, code: 'InsufficientCapacity' }, () => true],
  ['a reset before', { kind: 'reset-before' }, () => true],
  ['a reset after', { kind: 'reset-after' }, () => true],
  ['no answer', { kind: 'no-answer' }, () => true],
  ['200 with an error', { kind: 'error-in-200', code: 'InternalError' }, isLong],
  ['a flipped bit', { kind: 'flip-request', at: 500 }, carriesBytes],
  ['a body cut off', { kind: 'truncate', afterBytes: 300 }, isRead],
  ['a wrong ETag', { kind: 'etag', etag: '"00000000000000000000000000000000"' }, isRead],
];

function isLong(action: ProxyAction): boolean {
  return ['CompleteMultipartUpload', 'CopyObject', 'UploadPartCopy'].includes(action);
}
function carriesBytes(action: ProxyAction): boolean {
  return ['PutObject', 'UploadPart'].includes(action);
}
function isRead(action: ProxyAction): boolean {
  return action === 'GetObject';
}

/** All keys below the prefix with their bytes, as another client sees them. */
async function stored(core: Core): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  for (const key of await core.bucket.keys('alice/')) {
    found[key.slice('alice/'.length)] = await core.bucket.bytes(key);
  }
  return found;
}

function isSame(got: Record<string, Buffer>, want: Readonly<Record<string, Buffer>>): boolean {
  const keys = Object.keys(want);
  return (
    Object.keys(got).length === keys.length &&
    keys.every((key) => got[key]?.equals(want[key] ?? Buffer.alloc(0)) === true)
  );
}

/** Each object is one that was there before or one that should be there now, whole. */
function isNothingTorn(got: Record<string, Buffer>, scenario: Scenario): boolean {
  return Object.entries(got).every(([key, bytes]) =>
    [scenario.before[key], scenario.after[key]].some((want) => want?.equals(bytes) === true),
  );
}

/** An object that is gone has gone where it should: all of the work was done, and its failure untold. */
function isNothingLost(got: Record<string, Buffer>, scenario: Scenario): boolean {
  const isThere = (key: string) => got[key] !== undefined;
  return Object.keys(scenario.before).every(isThere) || isSame(got, scenario.after);
}

// Most of the time they wait to send a request again.
t.jobs = 4;
for (const scenario of scenarios) {
  const title = `${scenario.name}, with every fault in every request`;
  void t.test(title, { buffered: true }, async (t) => {
    for (const action of scenario.actions) {
      for (const [label, fault, applies] of faults) {
        if (!applies(action)) continue;
        for (const count of [1, 1000]) {
          await tryFault(t, scenario, { action, label, fault, count });
        }
      }
    }
  });
}

interface Trial {
  readonly action: ProxyAction;
  readonly label: string;
  readonly fault: Fault;
  readonly count: number;
}

async function tryFault(t: Tap, scenario: Scenario, trial: Trial): Promise<void> {
  const { action, label, fault, count } = trial;
  // Only where the time limit is what ends the request it has to be short; this machine may be slow.
  const requestTimeoutMs = fault.kind === 'no-answer' ? 1500 : 20_000;
  const { memoryLimit = 64 * 1024 * kibibyte } = scenario;
  const core = await useCore(t, { minPart, settings: { partSize, memoryLimit }, requestTimeoutMs });
  const program = new Program(core.fs);
  for (const [key, bytes] of Object.entries(scenario.before)) {
    await core.bucket.put(`alice/${key}`, bytes);
  }
  for (const name of ['/f', '/g', '/d']) await program.exists(name);
  const injection = core.proxy.inject({ action, count, fault });
  const title = `${action}: ${label}${count > 1 ? ', always' : ', once'}`;
  let failure: unknown;
  try {
    await scenario.work(program, core);
  } catch (error) {
    failure = error;
  }
  const fired = injection.fired;
  core.proxy.clear();
  const got = await stored(core);
  if (failure === undefined) {
    t.ok(isSame(got, scenario.after), `${title}: success only where the object is right`);
  } else {
    t.ok(failure instanceof FsError, `${title}: an errno`);
    t.ok(isNothingTorn(got, scenario), `${title}: nothing torn after a failure`);
    t.ok(isNothingLost(got, scenario), `${title}: nothing lost after a failure`);
  }
  t.ok(fired > 0 || action === 'HeadObject', `${title}: the fault was met`);
  if (count === 1 && isTransient(fault)) t.equal(failure, undefined, `${title}: retried inside`);
  if (action === 'CreateMultipartUpload' && losesAnswer(fault)) {
    // S3 made an upload and its id never came: nobody can tell whose it is. One for each attempt.
    t.ok(core.endpoint.openUploads().length <= fired, `${title}: no more than the lost ones`);
  } else {
    t.same(core.endpoint.openUploads(), [], `${title}: no multipart upload is left`);
  }
  t.equal(core.fs.status.tempBytes, 0, `${title}: no temp bytes are left`);
  t.equal(core.fs.status.handles, 0, `${title}: no handle is left`);
  await scenarioAgain(t, program, title);
}

/** The mount goes on working. */
async function scenarioAgain(t: Tap, program: Program, title: string): Promise<void> {
  await program.put('/again', 'again');
  t.equal((await program.get('/again')).toString(), 'again', `${title}: works again`);
}

function losesAnswer(fault: Fault): boolean {
  return fault.kind === 'reset-after' || fault.kind === 'no-answer';
}

function isTransient(fault: Fault): boolean {
  if (fault.kind === 'status') return fault.status !== 403 && fault.status !== 507;
  return fault.kind !== 'etag';
}

type Tap = Parameters<typeof useCore>[0];
