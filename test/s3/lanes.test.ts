/** The way for large ranges, over real sockets: plain and TLS, servers of Node and servers that lie. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createNetServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { HttpRequest } from '@smithy/types';
import t from 'tap';
import type { Test } from 'tap';

import { silentLog } from '../../lib/log.js';
import type { LogFields } from '../../lib/log.js';
import { HttpHandler } from '../../lib/s3/connection/http.js';
import { LentBody } from '../../lib/s3/wire/lent-body.js';
import { Lanes } from '../../lib/s3/wire/lanes.js';
import { makeCertificate } from '../support/certificate.js';
import { listen } from '../support/listen.js';

const size = 3_000_000;
const content = Buffer.alloc(size, 'the quick brown fox jumps over the lazy dog ');

/** Answers ranges of `content`. */
const serve: RequestListener = (request, response) => {
  const [, start, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
  const body = content.subarray(Number(start), Number(last) + 1);
  response.writeHead(206, { 'content-length': body.length }).end(body);
};

function makeLanes(t: Test, ca?: string): Lanes {
  const lanes = new Lanes({
    connectMs: 5000,
    answerMs: 300,
    ca: ca === undefined ? undefined : [ca],
    onTrouble: () => undefined,
  });
  t.teardown(() => lanes.destroy());
  return lanes;
}

function requestTo(url: string, start = 0, end = size): HttpRequest {
  const { protocol, hostname, port, host } = new URL(url);
  const headers = { host, range: `bytes=${start}-${end - 1}` };
  const where = { protocol, hostname, port: Number(port), path: '/key' };
  return { method: 'GET', ...where, query: { 'x-id': 'GetObject' }, headers };
}

/** What comes, to a sink that has no room now and then. */
async function fetched(lanes: Lanes, request: HttpRequest): Promise<Buffer | undefined> {
  const answer = await lanes.send(request);
  if (!(answer?.body instanceof LentBody)) return undefined;
  const pieces: Buffer[] = [];
  await answer.body.drain((bytes) => {
    pieces.push(Buffer.from(bytes));
    if (pieces.length % 7 !== 0) return undefined;
    return new Promise((resolve) => setImmediate(resolve));
  });
  await new Promise((resolve) => setImmediate(resolve));
  return Buffer.concat(pieces);
}

async function rawServer(t: Test, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

void t.test('requests one after the other share a connection, each of many has one', async (t) => {
  const server = createServer(serve);
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => sockets.push(socket));
  const lanes = makeLanes(t);
  const url = await listen(t, server);
  for (let n = 0; n < 3; n++) {
    t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  }
  t.equal(sockets.length, 1);
  const ranges = [0, 1, 2, 3].map((n) => [n * 500_000, n * 500_000 + 700_000] as const);
  const parts = await Promise.all(
    ranges.map(([start, end]) => fetched(lanes, requestTo(url, start, end))),
  );
  for (const [n, [start, end]] of ranges.entries()) {
    t.ok(parts[n]?.equals(content.subarray(start, end)), `range ${n}`);
  }
  t.equal(sockets.length, 4);
  lanes.closeIdle(requestTo(url));
  await fetched(lanes, requestTo(url));
  t.equal(sockets.length, 5, 'none of those that were idle');
  t.equal((await fetched(lanes, requestTo(url)))?.length, size);
  sockets.at(-1)?.destroy();
  await once(sockets.at(-1) as Socket, 'close');
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content), 'after the server closed one');
});

void t.test('TLS: a private authority is trusted, sessions are used again', async (t) => {
  const certificate = await makeCertificate(t);
  const server = createTlsServer({ key: certificate.key, cert: certificate.cert }, serve);
  const reused: boolean[] = [];
  server.on('secureConnection', (socket: TLSSocket) => reused.push(socket.isSessionReused()));
  const url = await listen(t, server, 'https');
  const lanes = makeLanes(t, certificate.cert);
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  lanes.closeIdle(requestTo(url));
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  t.strictSame(reused, [false, true]);
  await t.rejects(makeLanes(t).send(requestTo(url)), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
});

void t.test('which requests suit', (t) => {
  const lanes = makeLanes(t);
  const request = requestTo('http://127.0.0.1:1');
  t.ok(lanes.suits(request, size));
  t.ok(lanes.suits({ ...request, headers: {} }, size), 'a whole object');
  t.notOk(lanes.suits(request), 'an answer of any size');
  t.notOk(lanes.suits(request, 65_536), 'a small one');
  const others: [string, Partial<HttpRequest>][] = [
    ['another method', { method: 'HEAD' }],
    ['a version', { query: { 'x-id': 'GetObject', versionId: 'x' } }],
    ['a line end in a header', { headers: { ...request.headers, x: 'a\r\nb: c' } }],
    ['a line end in the path', { path: '/a\r\nb' }],
    ['white space in the path', { path: '/a b' }],
  ];
  for (const [name, change] of others) t.notOk(lanes.suits({ ...request, ...change }, size), name);
  t.end();
});

void t.test('what was met with a reset goes by a connection of its own', async (t) => {
  const url = await listen(t, createServer(serve));
  const handler = new HttpHandler({ timeoutMs: 5000 });
  t.teardown(() => handler.destroy());
  const handle = handler.handle.bind(handler);
  for (const isAgain of [false, true]) {
    const request = requestTo(url);
    if (isAgain) request.headers['expect'] = '100-continue';
    const { response } = await handle(request, { answerBytes: size });
    const body = response.body as Readable;
    t.equal(body instanceof LentBody, !isAgain);
    t.ok(Buffer.concat((await body.toArray()) as Buffer[]).equals(content));
  }
});

void t.test('what is wrong with a server that does not speak HTTP is told once', async (t) => {
  const told: string[] = [];
  const log = { ...silentLog, warn: ({ error }: LogFields) => void told.push(String(error)) };
  const handler = new HttpHandler({ timeoutMs: 5000, log });
  t.teardown(() => handler.destroy());
  const handle = handler.handle.bind(handler);
  const sockets: Socket[] = [];
  const unasked = await rawServer(t, (socket) => {
    sockets.push(socket);
    socket.on('data', () => {
      socket.write(`HTTP/1.1 206 X\r\ncontent-length: ${size}\r\n\r\n`);
      socket.write(content);
    });
  });
  const { response } = await handle(requestTo(unasked), { answerBytes: size });
  t.ok(Buffer.concat((await (response.body as Readable).toArray()) as Buffer[]).equals(content));
  t.strictSame(told, []);
  const [first] = sockets as [Socket];
  first.write('HTTP/1.1 206 X\r\ncontent-length: 3\r\n\r\nabc');
  await once(first, 'close');
  t.strictSame(told, ['an answer nobody asked for']);
  const other = await rawServer(t, (socket) => socket.write('220 this is mail\r\n'));
  const small = { ...requestTo(other), method: 'HEAD' };
  for (let n = 0; n < 2; n++) await t.rejects(handle({ ...small }), { code: /^HPE_/ });
  t.match(told, ['an answer nobody asked for', /^Parse Error/]);
  t.equal(told.length, 2);
});

void t.test('an endpoint whose answers have no length is not asked this way again', async (t) => {
  const server = createServer((_, response) => void response.writeHead(206).end(content));
  const url = await listen(t, server);
  const lanes = makeLanes(t);
  t.ok(lanes.suits(requestTo(url), size));
  t.equal(await lanes.send(requestTo(url)), undefined);
  t.notOk(lanes.suits(requestTo(url), size));
});

void t.test('a server that says nothing, or only the beginning, is given up in time', async (t) => {
  const head = `HTTP/1.1 206 X\r\ncontent-length: ${size}\r\n\r\n`;
  const answers = ['', 'HTTP/1.1 206', `${head}abc`];
  for (const text of answers) {
    const url = await rawServer(t, (socket) => socket.write(text));
    await t.rejects(fetched(makeLanes(t), requestTo(url)), { name: 'TimeoutError' }, text);
  }
  const trickling = await rawServer(t, (socket) => {
    const timer = setInterval(() => socket.write('x'), 50);
    socket.write('HTTP/1.1 206 X\r\nx: ');
    socket.on('close', () => clearInterval(timer));
  });
  await t.rejects(fetched(makeLanes(t), requestTo(trickling)), { name: 'TimeoutError' });
});

void t.test('a connection that is closed or reset in the middle says so', async (t) => {
  for (const end of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const url = await rawServer(t, (socket) => {
      socket.write(`HTTP/1.1 206 X\r\ncontent-length: ${size}\r\n\r\nabc`, () => socket[end]());
    });
    await t.rejects(fetched(makeLanes(t), requestTo(url)), { code: 'ECONNRESET' }, end);
  }
  const refused = requestTo('http://127.0.0.1:1');
  await t.rejects(makeLanes(t).send(refused), { code: 'ECONNREFUSED' });
});

void t.test('an answer nobody asked for ends the idle connection', async (t) => {
  const sockets: Socket[] = [];
  const url = await rawServer(t, (socket) => {
    sockets.push(socket);
    socket.on('data', () => {
      socket.write(`HTTP/1.1 206 X\r\ncontent-length: ${size}\r\n\r\n`);
      socket.write(content);
    });
  });
  const lanes = makeLanes(t);
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  const [first] = sockets as [Socket];
  first.write('HTTP/1.1 206 X\r\ncontent-length: 3\r\n\r\nabc');
  await once(first, 'close');
  t.ok((await fetched(lanes, requestTo(url)))?.equals(content));
  t.equal(sockets.length, 2);
});
