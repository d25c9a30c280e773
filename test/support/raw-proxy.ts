/**
 * A proxy before an S3 server whose answers are written by hand, byte by byte: what no HTTP library
 * sends. Requests pass whole, so the server does what it was asked; how its answer reads on the wire,
 * and what becomes of the connection, is up to a script.
 */
import { once } from 'node:events';
import { request as startRequest, type IncomingMessage } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { Certificate } from './certificate.js';

/** A request, and what the server said to it. */
export interface RawExchange {
  readonly method: string;
  /** path and query, as sent */
  readonly target: string;
  /** which connection it came by, counted from 0 */
  readonly connection: number;
  readonly status: number;
  /** `name: value\r\n` of each header, without those that frame the body */
  readonly fields: string;
  /** that the server told, also to a HEAD */
  readonly length: number;
  readonly body: Buffer;
}

/** Bytes to write; the connection is closed in order, or not; a number is a wait in milliseconds. */
export type RawStep = string | Buffer | number | { readonly close: 'end' | 'reset' };
export const end: RawStep = { close: 'end' };
export const reset: RawStep = { close: 'reset' };

/**
 * What goes over the wire as the answer; undefined: what the server said, as it should be. After the
 * last step the connection takes the next request.
 */
export type RawScript = (exchange: RawExchange) => Iterable<RawStep> | undefined;

export interface RawProxy {
  readonly url: string;
  /** in order of their answers */
  readonly log: readonly RawExchange[];
  script: RawScript;
  /** whether the client keeps a connection */
  isOpen(connection: number): boolean;
  /** ends all connections, as the restart of a server does */
  cut(): void;
}

/** Starts one on 127.0.0.1 that ends with the test. */
export async function useRawProxy(
  t: Test,
  target: string,
  certificate?: Certificate,
): Promise<RawProxy> {
  const sockets: Socket[] = [];
  const log: RawExchange[] = [];
  const proxy: { -readonly [Name in keyof RawProxy]: RawProxy[Name] } = {
    url: '',
    log,
    script: () => undefined,
    isOpen: (connection: number) => sockets[connection]?.closed === false,
    cut: () => {
      for (const socket of sockets) close(socket, 'reset');
    },
  };
  const serve = (socket: Socket): void => {
    // Whoever breaks off is heard of by the reading.
    sockets.push(socket.on('error', () => undefined));
    const connection = sockets.length - 1;
    void converse(socket, async (request) => {
      const exchange = { ...(await forward(target, request)), connection };
      log.push(exchange);
      return proxy.script(exchange) ?? usual(exchange);
    });
  };
  const server: Server =
    certificate === undefined ? createServer(serve) : createTlsServer(certificate, serve);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const scheme = certificate === undefined ? 'http' : 'https';
  proxy.url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

/** The true answer, as it should be. */
export function usual({ status, fields, length, body }: RawExchange): RawStep[] {
  const framing = status === 204 ? '' : `content-length: ${length}\r\n`;
  return [`HTTP/1.1 ${status} Fine\r\n${fields}${framing}\r\n`, body];
}

interface RawRequest {
  readonly method: string;
  readonly target: string;
  /** names and values in turn */
  readonly headers: string[];
  readonly body: Buffer;
}

/** Takes requests, one after the other, and writes what is to be said to each. */
async function converse(
  socket: Socket,
  answer: (request: RawRequest) => Promise<Iterable<RawStep>>,
): Promise<void> {
  const reading = new Incoming(socket);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  for (;;) {
    const request = await reading.next();
    if (request === undefined) return;
    for (const step of await answer(request)) {
      if (socket.destroyed) return;
      if (typeof step === 'number') await Promise.race([sleep(step), closed]);
      else if (typeof step === 'object' && 'close' in step) close(socket, step.close);
      else if (!socket.write(step)) {
        await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
      }
    }
  }
}

/** Node resets none that carries TLS. */
function close(socket: Socket, how: 'end' | 'reset'): void {
  if (how === 'end') socket.end();
  else if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

class Incoming {
  readonly #socket: Socket;
  readonly #pieces: AsyncIterator<Buffer>;
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#pieces = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** @returns undefined once the client has closed the connection */
  async next(): Promise<RawRequest | undefined> {
    let end = -1;
    while ((end = this.#bytes.indexOf('\r\n\r\n')) < 0) if (!(await this.#more())) return undefined;
    const [first = '', ...lines] = this.#bytes.toString('latin1', 0, end).split('\r\n');
    this.#bytes = this.#bytes.subarray(end + 4);
    const [method = '', target = ''] = first.split(' ');
    const headers = lines.flatMap((line) => {
      const at = line.indexOf(':');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    });
    const named = (name: string): string | undefined =>
      headers.find((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === name);
    if (named('expect') !== undefined) this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    const length = Number(named('content-length') ?? 0);
    while (this.#bytes.length < length) if (!(await this.#more())) return undefined;
    const body = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return { method, target, headers, body };
  }

  async #more(): Promise<boolean> {
    try {
      const next = await this.#pieces.next();
      if (next.done === true) return false;
      this.#bytes = Buffer.concat([this.#bytes, next.value]);
      return true;
    } catch {
      // A client that breaks off wants nothing more.
      return false;
    }
  }
}

async function forward(
  to: string,
  { method, target, headers, body }: RawRequest,
): Promise<Omit<RawExchange, 'connection'>> {
  const { hostname, port } = new URL(to);
  const sending = startRequest({ hostname, port, method, path: target, headers });
  sending.end(body);
  const [answer] = (await once(sending, 'response')) as [IncomingMessage];
  const { rawHeaders, statusCode: status = 502 } = answer;
  let fields = '';
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2);
    const isFraming = /^(?:connection|keep-alive|transfer-encoding|content-length)$/i.test(name);
    if (!isFraming) fields += `${name}: ${value}\r\n`;
  }
  const content = await buffer(answer);
  const length = method === 'HEAD' ? Number(answer.headers['content-length'] ?? 0) : content.length;
  return { method, target, status, fields, length, body: content };
}
