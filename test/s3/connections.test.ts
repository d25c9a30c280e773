/**
 * Kept connections, and servers that end them: after a number of requests, when they are idle, or
 * without a word, as a firewall does that has forgotten them. No operation fails of it.
 */
import { createHash } from 'node:crypto';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Key } from '../../lib/path.js';
import { makeCertificate, type Certificate } from '../support/certificate.js';
import { testKey } from '../support/embedded.js';
import { listen } from '../support/listen.js';
import { useStore } from '../support/store.js';

const atATime = 12;
const rounds = 4;
const body = Buffer.alloc(100_000);
const bodyTag = `"${createHash('md5').update(body).digest('hex')}"`;

interface Scene {
  readonly url: string;
  /** connections that were made */
  connections(): number;
}

interface Habits {
  /** what the server does to a connection that brings its nth request */
  readonly onRequest?: (socket: Socket, nth: number) => void;
  /** what a client hears that waits for `100 Continue` */
  readonly onAsked?: (response: ServerResponse) => void;
  readonly onAnswered?: (socket: Socket) => void;
  /** whether a request on it is never answered */
  readonly isHung?: (socket: Socket) => boolean;
  readonly maxRequestsPerSocket?: number;
  readonly tls?: Certificate | undefined;
}

/** A server that knows an empty object of every name and takes every PUT. */
async function serve(t: Test, habits: Habits): Promise<Scene> {
  const requests = new Map<Socket, number>();
  const listener: RequestListener = (request, response) => {
    const { socket } = request;
    const nth = (requests.get(socket) ?? 0) + 1;
    requests.set(socket, nth);
    habits.onRequest?.(socket, nth);
    response.on('finish', () => habits.onAnswered?.(socket));
    request.resume().on('end', () => {
      if (habits.isHung?.(socket) === true) return;
      response.writeHead(200, { etag: bodyTag, 'content-length': 0 });
      response.end();
    });
  };
  const { tls } = habits;
  const server: Server =
    tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  const { onAsked } = habits;
  if (onAsked !== undefined) server.on('checkContinue', (_request, response) => onAsked(response));
  server.maxRequestsPerSocket = habits.maxRequestsPerSocket ?? 0;
  server.keepAliveTimeout = 60_000;
  const url = await listen(t, server, tls === undefined ? 'http' : 'https');
  return { url, connections: () => requests.size };
}

/** Requests with a body and without, as many at a time as it takes to fill the pool, and again. */
async function work(t: Test, { url }: Scene, caBundle?: string): Promise<void> {
  const store = useStore(t, url, { credentials: testKey, caBundle, maxAttempts: 3 });
  for (let round = 0; round < rounds; round++) {
    const keys = Array.from({ length: atATime / 2 }, (_, index) => `${round}-${index}` as Key);
    await Promise.all([
      ...keys.map((key) => store.head(key)),
      ...keys.map((key) => store.put(key, [body])),
    ]);
  }
  t.pass('nothing failed');
}

void t.test('connections are kept, and no more than are needed at a time', async (t) => {
  const scene = await serve(t, {});
  await work(t, scene);
  t.ok(scene.connections() <= atATime, `${scene.connections()} connections`);
});

void t.test('a server that ends a connection after a few requests', async (t) => {
  const scene = await serve(t, { maxRequestsPerSocket: 2 });
  await work(t, scene);
  t.ok(scene.connections() >= (atATime * rounds) / 2, `${scene.connections()} connections`);
});

void t.test('a server that ends a connection as soon as it is idle', async (t) => {
  const scene = await serve(t, { onAnswered: (socket) => setImmediate(() => socket.end()) });
  await work(t, scene);
});

for (const name of ['plain', 'over TLS, of a private authority']) {
  void t.test(`idle connections that are gone without a word, ${name}`, async (t) => {
    const tls = name === 'plain' ? undefined : await makeCertificate(t);
    const scene = await serve(t, {
      tls,
      onRequest: (socket, nth) => {
        if (nth === 1) return;
        // A TLS socket cannot be reset; the client takes its end in the middle of a request the same.
        if (tls === undefined) socket.resetAndDestroy();
        else socket.destroy();
      },
    });
    await work(t, scene, tls?.file);
    t.ok(scene.connections() >= atATime * rounds, `${scene.connections()} connections`);
  });
}

void t.test('connections that lead to a hung server behind the same name', async (t) => {
  const hung = new Set<Socket>();
  const known = new Set<Socket>();
  let silences = 0;
  const scene = await serve(t, {
    onRequest: (socket) => known.add(socket),
    isHung: (socket) => {
      if (hung.has(socket)) silences += 1;
      return hung.has(socket);
    },
  });
  const timeoutMs = 500;
  const store = useStore(t, scene.url, { credentials: testKey, timeoutMs, maxAttempts: 2 });
  const names = Array.from({ length: atATime }, (_, index) => String(index) as Key);
  await Promise.all(names.map((name) => store.head(name)));
  t.equal(known.size, atATime);
  for (const socket of known) hung.add(socket);
  await store.head('x' as Key);
  t.equal(silences, 1, 'cost one request a timeout');
  for (const name of names) await store.head(name);
  for (const name of names) await store.put(name, [body]);
  t.equal(silences, 1, 'and no other');

  hung.clear();
  await Promise.all(names.map((name) => store.head(name)));
  for (const socket of known) hung.add(socket);
  await store.put('x' as Key, [body]);
  await store.head('x' as Key);
  t.equal(silences, 2, 'whether it had a body or not');
});

void t.test('a refusal before the body was taken is heard', async (t) => {
  const scene = await serve(t, {
    onRequest: (socket) => socket.resetAndDestroy(),
    onAsked: (response) => response.writeHead(403).end(),
  });
  const store = useStore(t, scene.url, { credentials: testKey });
  const body = [Buffer.alloc(5_000_000)];
  await t.rejects(store.put('x' as Key, body), { name: 'StoreError', kind: 'denied' });
});
