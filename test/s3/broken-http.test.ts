/**
 * A server that breaks HTTP, in every way there is a name for, to each of the store's requests: what
 * comes of it is the truth or a failure, in time, and the next request finds a fresh connection.
 */
import t, { type Test } from 'tap';
import { isStoreError } from '../../lib/errors.js';
import { inParallel } from '../../lib/concurrency/in-parallel.js';
import type { Key } from '../../lib/path.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import type { GetOptions } from '../../lib/store.js';
import { brokenAnswers } from '../support/broken-answers.js';
import { makeCertificate } from '../support/certificate.js';
import { testKey, useEndpoint } from '../support/embedded.js';
import { useRawProxy, type RawExchange } from '../support/raw-proxy.js';
import { useStore } from '../support/store.js';
import { until } from '../support/until.js';

const timeoutMs = 3000;
const small = Buffer.alloc(1000, 'small ');
const large = Buffer.alloc(300_000, 'large content ');

async function contentOf(store: S3Store, key: string, options: GetOptions = {}): Promise<Buffer> {
  const { body } = await store.get(key as Key, options);
  const pieces: Buffer[] = [];
  await body.drain((piece) => void pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces);
}

/** Each tells whether it was told the truth, by a store that hears it at first hand. */
const requests: Readonly<
  Record<string, (store: S3Store, truth: S3Store, name: Key) => Promise<boolean>>
> = {
  HEAD: async (store) => (await store.head('small' as Key)).size === small.length,
  'GET of little': async (store) => (await contentOf(store, 'small')).equals(small),
  'GET of much': async (store) => (await contentOf(store, 'large')).equals(large),
  'GET of what is known to be much': async (store) =>
    (await contentOf(store, 'large', { size: large.length })).equals(large),
  'GET of a range': async (store) => {
    const range = { start: 1000, end: 201_000 };
    return (await contentOf(store, 'large', { range })).equals(large.subarray(1000, 201_000));
  },
  LIST: async (store) => {
    const { objects } = await store.list({ prefix: 'ls/' as Key, oneLevel: true });
    return objects.map(({ key }) => key).join() === 'ls/a,ls/b';
  },
  PUT: async (store, truth, name) => {
    await store.put(name, [small]);
    return (await contentOf(truth, name)).equals(small);
  },
  'an upload in parts': async (store, truth, name) => {
    const upload = await store.createUpload(name);
    const part = await store.uploadPart(upload, 1, [large]);
    await store.completeUpload(upload, [part]);
    return (await contentOf(truth, name)).equals(large);
  },
  copy: async (store, truth, name) => {
    const { etag, size } = await truth.head('small' as Key);
    await store.copy({ key: 'small' as Key, etag, size }, name);
    return (await contentOf(truth, name)).equals(small);
  },
  DELETE: async (store, truth, name) => {
    await truth.put(name, [small]);
    await store.delete(name);
    return await truth.head(name).then(
      () => false,
      (error: unknown) => isStoreError(error, 'notFound'),
    );
  },
};

/** A length of its own is all that a HEAD tells of the content. */
function isBelievable(form: string, request: string): boolean {
  return request === 'HEAD' && /^a length too/.test(form);
}

async function meet(t: Test, forms: readonly string[], scheme: 'http' | 'https'): Promise<void> {
  const endpoint = await useEndpoint(t);
  const settings = { credentials: testKey, timeoutMs, maxAttempts: 2, patienceMs: 0 };
  const truth = useStore(t, endpoint.url, settings);
  const objects = { small, large, 'ls/a': small, 'ls/b': small };
  for (const [key, body] of Object.entries(objects)) await truth.put(key as Key, [body]);
  const certificate = scheme === 'https' ? await makeCertificate(t) : undefined;
  const cases = forms.flatMap((form) =>
    Object.keys(requests).map((request) => ({ form, request })),
  );
  let count = 0;
  await inParallel(scheme === 'http' ? 24 : 8, cases, async ({ form, request }) => {
    const at = `${request}: ${form}`;
    const broken = brokenAnswers[form];
    const perform = requests[request];
    if (broken === undefined || perform === undefined) throw new Error(`no ${at}`);
    const proxy = await useRawProxy(t, endpoint.url, certificate);
    const store = useStore(t, proxy.url, { ...settings, caBundle: certificate?.file });
    // What was learnt of the endpoint, and connections that are kept.
    await contentOf(store, 'large', { range: { start: 0, end: 100_000 } });
    const key = `w/${++count}`;
    proxy.script = (exchange: RawExchange) => broken.write(exchange);
    const startMs = performance.now();
    const outcome = await perform(store, truth, key as Key).catch((error: unknown) =>
      isStoreError(error) ? error.kind : error,
    );
    const tookMs = performance.now() - startMs;
    if (broken.is === 'right') t.equal(outcome, true, at);
    else if (broken.is === 'wrong') t.match(outcome, /^(unavailable|corrupt|invalid)$/, at);
    else if (!isBelievable(form, request)) {
      t.ok(outcome === true || /^(unavailable|corrupt|invalid)$/.test(String(outcome)), at, {
        found: outcome,
      });
    }
    t.ok(tookMs < 10 * timeoutMs, `${at}: in time`, { tookMs });
    // The client's next request could not tell it from the answer to that.
    const last = proxy.log.at(-1)?.connection ?? 0;
    if (/behind|later/.test(form)) await until(() => !proxy.isOpen(last));
    proxy.script = () => undefined;
    t.equal(await perform(store, truth, `${key}-again` as Key), true, `${at}: and then the truth`);
    store.close();
  });
}

const allForms = Object.keys(brokenAnswers);

void t.test('in the clear', async (t) => {
  t.setTimeout(600_000);
  await meet(t, allForms, 'http');
});

void t.test('over TLS', async (t) => {
  t.setTimeout(600_000);
  await meet(
    t,
    allForms.filter((form) => /behind|later|half|length|end/.test(form)),
    'https',
  );
});
