/** Limits on bytes a second. Time is only ever compared with the least it has to take. */
import t from 'tap';
import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import { testKey, useEndpoint } from '../support/embedded.js';
import { kibibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const content = Buffer.alloc(256 * kibibyte, 'x');

/** Milliseconds of `work`. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return pieces;
}

void t.test('uploads and downloads keep to their rates, together and not each', async (t) => {
  const endpoint = await useEndpoint(t);
  const rate = 512 * kibibyte;
  const store = useStore(t, endpoint.url, {
    credentials: testKey,
    maxUploadRate: rate,
    maxDownloadRate: rate,
  });
  const keys = ['a', 'b', 'c'] as Key[];
  const sentMs = await timed(() => Promise.all(keys.map((key) => store.put(key, [content], {}))));
  // The first goes at once; two of half a second each come behind it.
  t.ok(sentMs > 850, `${sentMs}`);
  const fetch = async (key: Key): Promise<Buffer> => {
    const { body } = await store.get(key, {});
    return Buffer.concat(await collect(body));
  };
  const bodies: Buffer[] = [];
  const gotMs = await timed(async () => bodies.push(...(await Promise.all(keys.map(fetch)))));
  t.ok(gotMs > 1200, `${gotMs}`);
  for (const body of bodies) t.ok(body.equals(content));
});

void t.test('who gives up waits for no turn', async (t) => {
  const endpoint = await useEndpoint(t);
  const store = useStore(t, endpoint.url, { credentials: testKey, maxUploadRate: 64 * kibibyte });
  await store.put('first' as Key, [content], {});
  const stop = new AbortController();
  const waiting = store.put('second' as Key, [content], { signal: stop.signal });
  stop.abort();
  t.ok(isStoreError(await waiting.catch((error: unknown) => error), 'aborted'));
});
