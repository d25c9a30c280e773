/** Garbage goes once nothing happens any more, and nothing looks for it then. */
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { MemoryAtRest } from '../../lib/host/memory-at-rest.js';
import { until } from '../support/until.js';

/** Collections that somebody asked for. */
let forced = 0;
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { detail } = entry as unknown as { readonly detail: { readonly flags: number } };
    if ((detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0) forced += 1;
  }
});
observer.observe({ entryTypes: ['gc'] });
t.teardown(() => observer.disconnect());

void t.test('garbage is collected at rest, twice and no more', async (t) => {
  const memory = new MemoryAtRest(5);
  const left = new WeakRef(new Uint8Array(32 * 1024 * 1024));
  const workedMs = performance.now() + 50;
  while (performance.now() < workedMs) {
    memory.note();
    await turn();
  }
  t.equal(forced, 0, 'not in the middle of work');
  await until(() => forced >= 2);
  t.notOk(isThere(left));
  memory.note();
  const restedMs = performance.now() + 50;
  await until(() => performance.now() > restedMs);
  t.equal(forced, 2, 'work that leaves hardly anything behind is not worth it');
});

void t.test('what a collection in a pause found in use is collected afterwards', async (t) => {
  const memory = new MemoryAtRest(5);
  const use = { buffer: new Uint8Array(100 * 1024 * 1024) as Uint8Array | undefined };
  const left = new WeakRef(use.buffer as Uint8Array);
  const before = forced;
  memory.note();
  await until(() => forced >= before + 2);
  t.ok(isThere(left), 'in use');
  await turn();
  use.buffer = undefined;
  memory.note();
  await until(() => forced >= before + 4);
  t.notOk(isThere(left));
});

/** Not to be compared by the test: it would keep the object, and write it out. */
function isThere(left: WeakRef<Uint8Array>): boolean {
  return left.deref() !== undefined;
}
