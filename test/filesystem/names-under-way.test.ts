/**
 * Two operations on one name, the second begun while S3 takes its time over a request of the first.
 *
 * Every pair × every request of the first × stopped before S3 sees it, stopped when only the answer
 * is missing, or refused at last. What S3 holds in the end follows from the two results in one order
 * or the other; nothing is left behind; and what others store afterwards shows.
 *
 * That is some 6000 cases. The suite takes every sixth of each pair, from another one on with each
 * pair, so that every pair is tried and every stop with every first operation. scripts/soak-names
 * takes all: S3JAIL_NAMES_STRIDE says how far it is from one case to the next.
 */
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { toFsError } from '../../lib/errors.js';
import { Program, defaultSettings, useCore, type Core } from '../support/core.js';
import type { ProxyAction } from '../support/faults.js';
import type { GateOptions } from '../support/gate.js';
import { ManualClock } from '../support/manual-clock.js';
import {
  actions,
  settings,
  type Action,
  type Scene,
  type Setting,
} from '../support/names-actions.js';
import { NamesModel, type Outcome } from '../support/names-model.js';
import { kibibyte } from '../support/sizes.js';

const minPart = 64 * kibibyte;
const partSize = 100 * kibibyte;
const { metadataTtlMs: ttlMs } = defaultSettings;
const stride = Number(process.env['S3JAIL_NAMES_STRIDE'] ?? 6);
const names = ['a', 'b', 'x'];

/** Waits until nothing moves any more: what has not ended by then waits for the gate. */
async function untilAtRest({ proxy }: Core, isDone: () => boolean): Promise<void> {
  for (let calm = 0; calm < 25 && !isDone();) {
    await turn();
    const busy = process.getActiveResourcesInfo().some((kind) => /^(FSReq|TCPConnect)/.test(kind));
    calm = proxy.busy === 0 && !busy ? calm + 1 : 0;
  }
}

async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return toFsError(error).code;
  }
}

class Stage {
  readonly #core: Core;
  readonly #program: Program;
  #cases = 0;

  constructor(core: Core) {
    this.#core = core;
    this.#program = new Program(core.fs);
  }

  async begin(setting: Setting): Promise<Scene> {
    const directory = `/case${(this.#cases += 1)}`;
    const at = (name: string): string => `${directory}/${name}`;
    const stored = Object.entries({ ...setting.stored, stays: 's' });
    await Promise.all(
      stored.map(([name, content]) => this.#core.bucket.put(`alice${at(name)}`, content)),
    );
    await this.#program.list(directory);
    const handle = await setting.open(this.#program, at);
    if (setting.isStored === true) await this.#core.fs.flush(handle, {});
    await untilAtRest(this.#core, () => false);
    return { fs: this.#core.fs, program: this.#program, at, handle, isReleased: false };
  }

  async end(scene: Scene): Promise<Outcome> {
    if (scene.isReleased) return undefined;
    scene.isReleased = true;
    return await outcomeOf(scene.program.close(scene.handle));
  }

  /** What S3 holds of the names of a case. */
  async held({ at }: Scene): Promise<Record<string, string>> {
    const held: Record<string, string> = {};
    for (const key of await this.#core.bucket.keys(`alice${at('')}`)) {
      const name = key.slice(`alice${at('')}`.length);
      if (name !== '' && name !== 'stays') held[name] = await this.#core.bucket.text(key);
    }
    return held;
  }

  /** The requests that an action makes by itself, in their order. */
  async requestsOf(setting: Setting, action: Action): Promise<ProxyAction[]> {
    const scene = await this.begin(setting);
    this.#core.proxy.reset();
    await outcomeOf(action.run(scene));
    const requests = this.#core.proxy.log.map((request) => request.action);
    await this.end(scene);
    return requests;
  }

  /** Runs the pair. @param refused the stopped request is refused when it goes on */
  async run(
    setting: Setting,
    [first, second]: readonly [Action, Action],
    { refused, ...gate }: GateOptions & { readonly refused: boolean },
  ): Promise<{ scene: Scene; outcomes: [Outcome, Outcome]; closing: Outcome }> {
    const { proxy } = this.#core;
    const scene = await this.begin(setting);
    proxy.reset();
    const stopped = proxy.gate(gate);
    const fault = { kind: 'status', status: 507, code: 'InsufficientCapacity' } as const;
    if (refused) proxy.inject({ ordinal: gate.ordinal ?? 1, count: 1, fault });
    const one = outcomeOf(first.run(scene));
    await Promise.race([stopped.arrived, one]);
    let isDone = false;
    const two = outcomeOf(second.run(scene)).finally(() => (isDone = true));
    await untilAtRest(this.#core, () => isDone);
    stopped.open();
    const outcomes: [Outcome, Outcome] = [await one, await two];
    proxy.clear();
    return { scene, outcomes, closing: await this.end(scene) };
  }
}

/** What S3 may hold after a pair with these results, one text for each possibility. */
function possible(
  setting: Setting,
  pair: readonly Action[],
  results: { readonly outcomes: readonly Outcome[]; readonly closing: Outcome },
): Set<string> {
  const { outcomes, closing } = results;
  const found = new Set<string>();
  const isLost =
    closing !== undefined || pair.some(({ stores }, index) => stores && outcomes[index]);
  const failed = outcomes.some((outcome) => outcome !== undefined);
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    for (const half of failed ? ([undefined, 'content', 'stored'] as const) : [undefined]) {
      // What could not be stored is lost before or after it was given another name, or had never one.
      for (const lostAt of isLost ? [0, 1, 2, 3] : [-1]) {
        const { stored, content, isStored } = setting;
        const model = new NamesModel(isStored === true ? { ...stored, a: content } : stored, {
          name: 'a',
          content: setting.content,
        });
        let fits = true;
        for (const [step, index] of order.entries()) {
          if (lostAt === step) model.revert();
          const action = pair[index];
          const outcome = outcomes[index];
          if (action === undefined) continue;
          if (lostAt === 3 && action.moves === true) continue;
          if (outcome === undefined) fits &&= action.model(model) === undefined;
          else if (half !== undefined) action.halfDone?.(model, half);
        }
        if (lostAt >= 2) model.revert();
        if (fits) found.add(text(model.held));
      }
    }
  }
  return found;
}

function text(held: Readonly<Record<string, string>>): string {
  const short = (content: string): string =>
    content.length > 40 ? `${content.slice(0, 12)}…(${content.length})` : content;
  return JSON.stringify(
    Object.keys(held)
      .sort()
      .map((name) => [name, short(held[name] ?? '')]),
  );
}

/** Whether the mount shows what others store from now on, once its memory of names has faded. */
async function showsOthers(used: Used, { program, at }: Scene): Promise<boolean> {
  const theirs = 'by others, later';
  const put = (name: string) => used.core.bucket.put(`alice${at(name)}`, theirs);
  await Promise.all(names.map(put));
  used.clock.pass(ttlMs + 1);
  const sizeOf = async (name: string) =>
    (await program.exists(at(name))) ? (await program.stat(at(name))).size : 0;
  const sizes = await Promise.all(names.map(sizeOf));
  return sizes.every((size) => size === theirs.length);
}

interface Used {
  readonly core: Core;
  readonly clock: ManualClock;
}

type Stop = GateOptions & { readonly ordinal: number; readonly refused: boolean };

/** Where the first operation makes no request, the second's is stopped, with the first done. */
function stopsAt(requests: number): Stop[] {
  const ordinals = Array.from({ length: Math.max(1, requests) }, (_, index) => index + 1);
  return ordinals.flatMap((ordinal): Stop[] => [
    { ordinal, at: 'request', refused: false },
    { ordinal, at: 'answer', refused: false },
    { ordinal, at: 'request', refused: true },
  ]);
}

let pairs = 0;

/** What of a pair's stops this run takes: at least one. */
function shareOf(stops: readonly Stop[]): Stop[] {
  const first = pairs++ % Math.min(stride, stops.length);
  return stops.filter((_, index) => index >= first && (index - first) % stride === 0);
}

async function tryPairs(t: Test, setting: Setting, first: Action): Promise<void> {
  const clock = new ManualClock();
  const core = await useCore(t, { minPart, clock, settings: { partSize, utimens: 'store' } });
  const stage = new Stage(core);
  const requests = await stage.requestsOf(setting, first);
  for (const second of actions) {
    // Two threads cannot both close a handle, nor use it afterwards.
    if (first.closes === true && second.usesHandle === true) continue;
    // Others' writes come between its own calls.
    if (first.name === 'overwrite' && second.name === 'write') continue;
    for (const gate of shareOf(stopsAt(requests.length))) {
      const stop = `request ${gate.ordinal} stopped at ${gate.at}${gate.refused ? ', refused' : ''}`;
      const fail = (what: string, facts = {}): void =>
        void t.fail(`${second.name}, ${stop}: ${what}`, facts);
      const { scene, ...results } = await stage.run(setting, [first, second], gate);
      const held = await stage.held(scene);
      const expected = possible(setting, [first, second], results);
      if (!expected.has(text(held))) {
        fail('not what follows', { held: text(held), expected: [...expected], ...results });
      }
      // What S3 refused to abort is left for the next start.
      const isKept = core.proxy.log.some(
        ({ action, fault }) => action === 'AbortMultipartUpload' && fault !== undefined,
      );
      const uploads = core.endpoint.openUploads().filter(({ key }) => key.includes(scene.at('')));
      if (uploads.length > 0 && !isKept) fail('an upload is left');
      const { handles, tempBytes, uploadMemory } = core.fs.status;
      if (handles + tempBytes + uploadMemory > 0) {
        fail('something is left', { handles, tempBytes, uploadMemory });
      }
      if (held['a/'] === undefined && !(await showsOthers({ core, clock }, scene))) {
        fail('an old view is left', { held: text(held), ...results });
      }
    }
  }
  t.pass(requests.join(', '));
}

t.setTimeout(0);
for (const setting of settings) {
  void t.test(setting.name, async (t) => {
    for (const first of actions) {
      // It takes the same way as flush.
      if (first.name === 'fsync') continue;
      await t.test(`${first.name}, and meanwhile`, (t) => tryPairs(t, setting, first));
    }
  });
}
