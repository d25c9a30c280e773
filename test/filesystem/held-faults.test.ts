/**
 * Every request of an upload that is interrupted and gone on with × every way it can fail: nothing is
 * published but the whole, what was there stays until then, and nothing is left at the end.
 */
import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { FsError } from '../../lib/errors.js';
import '../support/no-jitter.js';
import type { Fault, ProxyAction } from '../support/faults.js';
import { cutOff, goOn, useHoldingCore, type HoldingCore } from '../support/held.js';
import { kibibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const whole = randomBytes(500 * kibibyte);
const old = randomBytes(3000);

const faults: Readonly<Record<string, Fault>> = {
  '500': { kind: 'status', status: 500, code: 'InternalError' },
  '403': { kind: 'status', status: 403, code: 'AccessDenied' },
  'a reset before': { kind: 'reset-before' },
  'a reset after': { kind: 'reset-after' },
  'no answer': { kind: 'no-answer' },
};

/** When it happens: as the connection drops, when the next process starts, or while the client goes on. */
const phases: readonly (readonly ['holding' | 'going on', readonly ProxyAction[]])[] = [
  ['holding', ['CreateMultipartUpload', 'UploadPart', 'AbortMultipartUpload']],
  [
    'going on',
    ['ListParts', 'UploadPart', 'CompleteMultipartUpload', 'AbortMultipartUpload', 'PutObject'],
  ],
];

t.jobs = 4;
for (const size of [5000, 350 * kibibyte]) {
  for (const [phase, actions] of phases) {
    for (const action of actions) {
      const title = `${size} bytes, ${phase}: every fault in ${action}`;
      void t.test(title, { buffered: true }, async (t) => {
        for (const [label, fault] of Object.entries(faults)) {
          for (const count of [1, 1000]) {
            await tryFault(t, { size, phase, action, fault, count, label: `${label} × ${count}` });
          }
        }
      });
    }
  }
}

interface Trial {
  readonly size: number;
  readonly phase: 'holding' | 'going on';
  readonly action: ProxyAction;
  readonly fault: Fault;
  readonly count: number;
  readonly label: string;
}

async function tryFault(t: Test, trial: Trial): Promise<void> {
  const { size, phase, action, fault, count, label } = trial;
  const requestTimeoutMs = fault.kind === 'no-answer' ? 1000 : 20_000;
  let core = await useHoldingCore(t, { requestTimeoutMs });
  await core.bucket.put('alice/f', old);
  if (phase === 'holding') core.proxy.inject({ action, count, fault });
  // A part that fails for good is told to the client at once, before its connection drops.
  const hold = await outcome(cutOff(core, '/f', whole.subarray(0, size)));
  core.proxy.clear();
  t.ok((await core.bucket.bytes('alice/f')).equals(old), `${label}: nothing is published`);
  const shown = (await core.program.stat('/f')).size;
  t.ok([size, old.length].includes(shown), `${label}: what arrived is shown, or what was there`);
  if (hold === undefined) t.equal(shown, size, `${label}: it is held`);
  core = await core.next();
  t.equal((await core.program.stat('/f')).size, shown, `${label}: as in the process before`);
  if (shown === size) await goOnWith(t, core, trial);
  await core.program.unlink('/f').catch(() => undefined);
  t.strictSame(core.fs.status.held, [], `${label}: nothing is held`);
  t.equal(core.fs.status.tempBytes, 0, `${label}: no temp bytes are left`);
  t.equal(core.fs.status.handles, 0, `${label}: no handle is left`);
  if (phase === 'going on' && action !== 'AbortMultipartUpload') {
    await until(() => core.endpoint.openUploads().length === 0);
  }
}

async function goOnWith(t: Test, core: HoldingCore, trial: Trial): Promise<void> {
  const { phase, action, fault, count, label } = trial;
  if (phase === 'going on') core.proxy.inject({ action, count, fault });
  const failure = await outcome(goOn(core, '/f', whole));
  core.proxy.clear();
  const got = await core.bucket.bytes('alice/f');
  if (failure === undefined) t.ok(got.equals(whole), `${label}: success only where it is right`);
  else {
    t.ok(failure instanceof FsError, `${label}: an errno`);
    t.ok(got.equals(old) || got.equals(whole), `${label}: nothing torn after a failure`);
  }
  const isPassing = count === 1 && !(fault.kind === 'status' && fault.status === 403);
  if (phase === 'holding' || isPassing) t.equal(failure, undefined, `${label}: it succeeds`);
}

async function outcome(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}
