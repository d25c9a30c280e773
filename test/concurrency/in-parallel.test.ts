/** Many items at a time: order, width, and what happens after a failure. */
import t from 'tap';
import { inParallel } from '../../lib/concurrency/in-parallel.js';

/** Work that ends when the test says so. */
class Gate {
  readonly begun: number[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #ends: { resolve: (value: string) => void; reject: (error: Error) => void }[] = [];

  readonly work = (item: number, _index: number, signal: AbortSignal): Promise<string> => {
    this.begun.push(item);
    this.signals.push(signal);
    return new Promise((resolve, reject) => (this.#ends[item] = { resolve, reject }));
  };

  end(item: number): void {
    this.#ends[item]?.resolve(`done ${item}`);
  }

  fail(item: number): void {
    this.#ends[item]?.reject(new Error(`failed ${item}`));
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const items = [0, 1, 2, 3, 4];

void t.test('so many at a time, results in the order of the items', async (t) => {
  const gate = new Gate();
  const all = inParallel(2, items, gate.work);
  await turn();
  t.same(gate.begun, [0, 1]);
  for (const item of [1, 2, 0, 4, 3]) {
    gate.end(item);
    await turn();
  }
  t.same(
    await all,
    items.map((item) => `done ${item}`),
  );
  t.same(await inParallel(3, [], gate.work), []);
});

void t.test('after a failure nothing is begun, and what is in flight is awaited', async (t) => {
  const gate = new Gate();
  let ended: unknown;
  const all = inParallel(3, items, gate.work).catch((error: unknown) => (ended = error));
  await turn();
  t.notOk(gate.signals[0]?.aborted);
  gate.fail(1);
  await turn();
  t.ok(gate.signals[0]?.aborted, 'the others are told');
  t.equal(ended, undefined, 'two are in flight');
  gate.fail(0);
  gate.end(2);
  await all;
  t.same(gate.begun, [0, 1, 2]);
  t.match(ended, { message: 'failed 1' }, 'what failed first');
});
