/**
 * A forward proxy as companies have them: CONNECT for https, whole URLs for http, a user name and a
 * password, and a resolver of its own for names that nobody else knows.
 */
import { once } from 'node:events';
import { createServer, request as startRequest, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Test } from 'tap';

export interface ForwardProxyOptions {
  /** asked for if present */
  readonly user?: { readonly name: string; readonly password: string };
  /** `host:port` as clients name it → port on 127.0.0.1; others are refused */
  readonly hosts: Readonly<Record<string, number>>;
}

export interface ForwardProxy {
  readonly host: string;
  /** targets of CONNECT that were let through */
  readonly tunnels: string[];
  /** URLs of plain requests that were let through */
  readonly requests: string[];
  /** how often it asked for other credentials */
  refusals(): number;
}

/** Starts a proxy on 127.0.0.1 that ends with the test. */
export async function startForwardProxy(
  t: Test,
  { user, hosts }: ForwardProxyOptions,
): Promise<ForwardProxy> {
  const tunnels: string[] = [];
  const requests: string[] = [];
  let refused = 0;
  const wanted = user && `Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}`;
  /** The status to refuse with, or the port to go to. */
  const admit = (request: IncomingMessage, target: string): { status: number; port: number } => {
    if (wanted !== undefined && request.headers['proxy-authorization'] !== wanted) {
      refused += 1;
      return { status: 407, port: 0 };
    }
    const port = hosts[target];
    return port === undefined ? { status: 403, port: 0 } : { status: 200, port };
  };
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '');
    const { status, port } = admit(request, url.host);
    if (status !== 200) {
      response.writeHead(status).end();
      return;
    }
    requests.push(url.href);
    const path = `${url.pathname}${url.search}`;
    const { method, rawHeaders: headers } = request;
    const upstream = startRequest({ host: '127.0.0.1', port, method, path, headers });
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      pipeline(answer, response).catch(() => response.destroy());
    });
    pipeline(request, upstream).catch(() => request.destroy());
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    const target = request.url ?? '';
    const { status, port } = admit(request, target);
    client.on('error', () => undefined);
    if (status !== 200) {
      client.end(`HTTP/1.1 ${status} Refused\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    tunnels.push(target);
    const upstream = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(upstream).pipe(client);
    });
    sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return { host: `127.0.0.1:${port}`, tunnels, requests, refusals: () => refused };
}
