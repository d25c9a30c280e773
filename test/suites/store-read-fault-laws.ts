/**
 * Laws of reading when connections break: exactly the bytes asked for, or an error.
 *
 * On real servers, only faults behind an answer of theirs: the rest of a body is asked for by Range
 * and If-Match, which each of them answers in its own way.
 */
import type { Test } from 'tap';
import type { Fault } from '../support/faults.js';
import { mebibyte } from '../support/sizes.js';
import { bytes, collect, key, otherTag, pattern, fails } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';

const size = 3 * mebibyte;

/** Each befalls the first answers; the bytes have to come nevertheless. */
type Survivable = readonly (readonly [string, Fault, number])[];

const answered: Survivable = [
  ['a connection cut in the middle', { kind: 'truncate', afterBytes: mebibyte }, 1],
  ['a connection cut at the first byte', { kind: 'truncate', afterBytes: 0 }, 2],
  ['several cuts', { kind: 'truncate', afterBytes: 300_000 }, 4],
  ['a lost answer', { kind: 'reset-after' }, 2],
];

const unanswered: Survivable = [
  // Answered, but then as if cut; only that the client has to notice.
  ['a body that stops coming', { kind: 'stall', afterBytes: 500_000 }, 1],
  ['a reset before the request arrives', { kind: 'reset-before' }, 2],
  ['no answer', { kind: 'no-answer' }, 1],
  ['500', { kind: 'status', status: 500, code: 'InternalError' }, 2],
  ['503', { kind: 'status', status: 503, code: 'ServiceUnavailable' }, 2],
  ['asked to slow down', { kind: 'status', status: 503, code: 'SlowDown' }, 1],
];

export async function readFaultLaws(t: Test, setup: LawSetup): Promise<void> {
  const content = pattern(size);

  const survivable = setup.isClientTried ? [...answered, ...unanswered] : answered;
  for (const [name, fault, count] of survivable) {
    await t.test(`${name}: the bytes come nevertheless`, async (t) => {
      const { store } = setup.makeStore(t, { timeoutMs: 1500 });
      const { etag } = await store.put(key('x'), [content]);
      const range = { start: 1000, end: size - 1000 };
      for (const options of [{}, { ifMatch: etag }, { range, ifMatch: etag }, { range }]) {
        const injection = setup.proxy.inject({ action: 'GetObject', count, fault });
        const { body } = await store.get(key('x'), options);
        const wanted = 'range' in options ? content.subarray(1000, size - 1000) : content;
        t.ok((await collect(body)).equals(wanted), JSON.stringify(Object.keys(options)));
        t.equal(injection.fired, count, 'the fault befell it');
        setup.proxy.clear();
      }
    });
  }

  await t.test('a resumed body asks for the rest only', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), [content]);
    setup.proxy.reset();
    const fault = { kind: 'truncate', afterBytes: 2 * mebibyte } as const;
    setup.proxy.inject({ action: 'GetObject', fault });
    await collect((await store.get(key('x'))).body);
    t.ok(setup.proxy.bytes().toClient < size + 300_000, 'hardly a byte twice');
  });

  await t.test('an object replaced meanwhile is not spliced', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), [content]);
    setup.proxy.inject({ action: 'GetObject', fault: { kind: 'truncate', afterBytes: mebibyte } });
    const { body } = await store.get(key('x'));
    await store.put(key('x'), [pattern(size, 9)]);
    await fails(t, collect(body), { kind: 'changed' });
  });

  await t.test('an object deleted meanwhile is an error', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), [content]);
    setup.proxy.inject({ action: 'GetObject', fault: { kind: 'truncate', afterBytes: mebibyte } });
    const { body } = await store.get(key('x'));
    await store.delete(key('x'));
    await t.rejects(collect(body), { name: 'StoreError' });
  });

  await t.test('a server that only ever breaks is given up', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), [content]);
    const fault = { kind: 'truncate', afterBytes: 1000 } as const;
    setup.proxy.inject({ action: 'GetObject', count: 1000, fault });
    await fails(t, collect((await store.get(key('x'))).body), { kind: 'unavailable' });
    t.ok((setup.proxy.counts().GetObject ?? 0) < 20, 'after some tries');
  });

  await t.test('an answer of another version is refused', async (t) => {
    const { store } = setup.makeStore(t);
    const { etag } = await store.put(key('x'), bytes('x'));
    setup.proxy.inject({ action: 'GetObject', fault: { kind: 'etag', etag: otherTag } });
    await fails(t, store.get(key('x'), { ifMatch: etag }), { kind: 'changed' });
  });

  if (setup.isClientTried) await unansweredQuestions(t, setup);
}

async function unansweredQuestions(t: Test, setup: LawSetup): Promise<void> {
  await t.test('HEAD and LIST are asked again', async (t) => {
    const { store } = setup.makeStore(t);
    await store.put(key('x'), bytes('x'));
    for (const action of ['HeadObject', 'ListObjectsV2'] as const) {
      for (const fault of [
        { kind: 'reset-after' },
        { kind: 'status', status: 500, code: 'InternalError' },
      ] as const) {
        setup.proxy.inject({ action, count: 3, fault });
        if (action === 'HeadObject') t.equal((await store.head(key('x'))).size, 1);
        else t.equal((await store.list({ prefix: key(''), oneLevel: true })).objects.length, 1);
      }
    }
    t.ok(store.counters.retries >= 12, 'and counted');
    setup.proxy.inject({ action: 'ListObjectsV2', fault: { kind: 'truncate', afterBytes: 100 } });
    const { objects } = await store.list({ prefix: key(''), oneLevel: true });
    t.equal(objects.length, 1, 'a listing that broke off is not believed');
  });

  await t.test('nothing there at all', async (t) => {
    const { store } = setup.makeStore(t, { endpointUrl: 'http://127.0.0.1:1' });
    await fails(t, store.head(key('x')), { kind: 'unavailable' });
    await fails(t, store.put(key('x'), bytes('x')), { kind: 'unavailable' });
  });
}
