/**
 * What holds for all that is downloaded holds on the lane as well: the age of connections, the rate, and
 * what is counted.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import t from 'tap';
import type { Test } from 'tap';

import { isStoreError } from '../../lib/errors.js';
import type { Key } from '../../lib/path.js';
import type { ETag, GetOptions } from '../../lib/store.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import { testKey } from '../support/embedded.js';
import { listen } from '../support/listen.js';
import { ManualClock } from '../support/manual-clock.js';
import { kibibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';

const content = Buffer.alloc(1024 * kibibyte, 'the quick brown fox jumps over the lazy dog ');
const etag = '"0123456789abcdef0123456789abcdef"' as ETag;
const key = 'file' as Key;

interface Served {
  readonly url: string;
  /** in the order of their beginning */
  readonly sockets: Socket[];
  /** for each request, whether it came by the lane: Node writes names of headers otherwise */
  readonly byLane: boolean[];
  /** of the next answers */
  send: (response: ServerResponse, body: Buffer) => void;
}

/** A server of ranges of `content`. */
async function serve(t: Test): Promise<Served> {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    served.byLane.push(request.rawHeaders.includes('connection'));
    const [, start, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const body = content.subarray(Number(start), Number(last) + 1);
    response.writeHead(206, {
      'content-length': body.length,
      'content-range': `bytes ${start}-${last}/${content.length}`,
      'last-modified': 'Sat, 31 Jan 2026 23:59:59 GMT',
      etag,
    });
    served.send(response, body);
  };
  const server = createServer({ keepAliveTimeout: 0 }, answer);
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => sockets.push(socket));
  const send: Served['send'] = (response, body) => void response.end(body);
  const served: Served = { url: await listen(t, server), sockets, byLane: [], send };
  return served;
}

async function fetched(store: S3Store, bytes: number, options: GetOptions = {}): Promise<number> {
  const range = { start: 0, end: bytes };
  const { body } = await store.get(key, { ...options, ifMatch: etag, range });
  let came = 0;
  await body.drain((piece) => {
    came += piece.length;
    return undefined;
  });
  // Its connection is free a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  return came;
}

/** Waits for it. */
async function ended(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) {
    // Not `once`: some end by a reset.
    if (!socket.destroyed) await new Promise((resolve) => socket.on('close', resolve));
  }
}

void t.test('requests and bytes are counted, whichever way they go', async (t) => {
  const served = await serve(t);
  const store = useStore(t, served.url, { credentials: testKey });
  const { counters } = store;
  t.equal(await fetched(store, 300 * kibibyte), 300 * kibibyte);
  t.equal(await fetched(store, 4 * kibibyte), 4 * kibibyte);
  t.strictSame(served.byLane, [true, false]);
  t.equal(counters.requests['GetObject'], 2);
  t.equal(counters.bytesReceived, 304 * kibibyte);
  const usual = served.send;
  served.send = (response, body) => {
    served.send = usual;
    response.write(body.subarray(0, 100 * kibibyte), () => response.destroy());
  };
  t.equal(await fetched(store, 300 * kibibyte), 300 * kibibyte, 'through a broken connection');
  t.equal(counters.requests['GetObject'], 4);
  t.equal(counters.bytesReceived, 604 * kibibyte, 'no byte twice');
});

void t.test('the rate of downloads holds on the lane', async (t) => {
  const served = await serve(t);
  const rate = 512 * kibibyte;
  const store = useStore(t, served.url, { credentials: testKey, maxDownloadRate: rate });
  const startMs = performance.now();
  await fetched(store, 256 * kibibyte);
  const tookMs = performance.now() - startMs;
  t.strictSame(served.byLane, [true]);
  // The first piece, of 64 KiB at most, goes at once; the last is paid for by the next.
  t.ok(tookMs > 200, `${tookMs}`);
});

void t.test('who gives up waits for no turn, and its connection ends', async (t) => {
  const served = await serve(t);
  const store = useStore(t, served.url, { credentials: testKey, maxDownloadRate: 1 });
  const stop = new AbortController();
  const { signal } = stop;
  const range = { start: 0, end: content.length };
  const { body } = await store.get(key, { ifMatch: etag, range, signal });
  let came = 0;
  const failure: unknown = await body
    .drain((piece) => {
      came += piece.length;
      stop.abort();
      return undefined;
    })
    .catch((error: unknown) => error);
  t.ok(isStoreError(failure, 'aborted'));
  t.ok(came > 0 && came < content.length);
  t.strictSame(served.byLane, [true]);
  await ended(served.sockets);
});

void t.test('an old connection carries no further request', async (t) => {
  const served = await serve(t);
  const clock = new ManualClock();
  const store = useStore(t, served.url, { credentials: testKey, clock });
  const get = async (): Promise<number> => {
    t.equal(await fetched(store, 300 * kibibyte), 300 * kibibyte);
    return served.sockets.length;
  };
  const minuteMs = 60_000;
  t.equal(await get(), 1);
  clock.pass(4 * minuteMs);
  t.equal(await get(), 1, 'young enough');
  clock.pass(2 * minuteMs);
  t.equal(await get(), 2, 'it got old while it was idle');
  const usual = served.send;
  served.send = (response, body) => {
    clock.pass(6 * minuteMs);
    usual(response, body);
  };
  t.equal(await get(), 2, 'it gets old during a request');
  served.send = usual;
  t.equal(await get(), 3);
  t.ok(served.byLane.every(Boolean));
  await ended(served.sockets.slice(0, 2));
});
