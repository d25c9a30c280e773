/**
 * Answers questions about a mount over HTTP: everything on a Unix socket that only its user can
 * open, and, where asked for, the metrics on a TCP port.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { isIPv6 } from 'node:net';
import { messageOf } from '../host/failure.js';
import type { Log } from '../log.js';
import type { Metrics } from './metrics.js';
import type { StatusReport } from './status-report.js';

/** An answer and its media type. */
interface Page {
  readonly type: string;
  readonly text: string;
}

/** What can be asked for, by path. */
type Pages = Readonly<Record<string, () => Promise<Page>>>;

/** What can be done, by path; answered with a status and a sentence. */
type Deeds = Readonly<
  Record<string, (query: URLSearchParams) => Promise<readonly [status: number, text: string]>>
>;

/** Questions take no body and come from beside; whoever is slower only holds a connection. */
const requestTimeoutMs = 10_000;

/** For each a descriptor is taken, which files and S3 need too; an answer is given in milliseconds. */
const connectionsMax = 32;

/** What Prometheus gets. */
type MetricsSource = Pick<Metrics, 'contentType' | 'text'>;

/**
 * The metrics for whoever may connect to `address`.
 * @returns `ref` for a process that has nothing else to do
 * @throws Error (system error) EADDRINUSE …
 */
export async function serveMetrics(
  address: { readonly host: string; readonly port: number },
  metrics: MetricsSource,
  log: Log,
): Promise<{ url: string; ref: () => void; close: () => Promise<void> }> {
  const server = serverOf({ '/metrics': () => metricsPage(metrics) }, {}, log);
  await listening(server, { host: address.host, port: address.port });
  const { address: host, port } = server.address() as AddressInfo;
  const shown = isIPv6(host) ? `[${host}]` : host;
  const url = `http://${shown}:${port}/metrics`;
  return { url, ref: () => server.ref(), close: () => closed(server) };
}

/**
 * Metrics and report on a socket, mode 0600.
 * @param path in a directory of this user's alone
 * @throws Error (system error) where the path is too long for a socket, for one
 */
export async function serveStatus(
  path: string,
  sources: {
    readonly metrics: MetricsSource;
    readonly report: () => Promise<StatusReport>;
    /** @returns whether anything was held there */
    readonly discardHeld: (path: string) => Promise<boolean>;
  },
  log: Log,
): Promise<{ close: () => Promise<void> }> {
  const server = serverOf(
    {
      '/metrics': () => metricsPage(sources.metrics),
      '/status': async () => ({
        type: 'application/json',
        text: JSON.stringify(await sources.report()),
      }),
    },
    {
      '/held': async (query) => {
        const path = query.get('path') ?? '';
        if (await sources.discardHeld(path)) return [200, 'it is given up'];
        return [404, 'no interrupted upload is held there'];
      },
    },
    log,
  );
  rmSync(path, { force: true });
  await listening(server, { path });
  chmodSync(path, 0o600);
  return { close: () => closed(server) };
}

async function metricsPage(metrics: MetricsSource): Promise<Page> {
  return { type: metrics.contentType, text: await metrics.text() };
}

function serverOf(pages: Pages, deeds: Deeds, log: Log): Server {
  const answer: RequestListener = (request, response) => {
    const [path = '', query] = request.url?.split('?') ?? [];
    const deed = request.method === 'DELETE' && Object.hasOwn(deeds, path) && deeds[path];
    if (deed) {
      void deed(new URLSearchParams(query))
        .catch((error: unknown) => [409, messageOf(error)] as const)
        .then(([status, text]) => response.writeHead(status).end(text));
      return;
    }
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    const isAsked = request.method === 'GET' || request.method === 'HEAD';
    if (page === undefined || !isAsked) {
      response.writeHead(page === undefined ? 404 : 405).end();
      return;
    }
    page()
      .then(({ type, text }) => response.writeHead(200, { 'content-type': type }).end(text))
      .catch((error: unknown) => {
        log.error({ page: path, cause: messageOf(error) }, 'a status page could not be made');
        response.writeHead(500).end();
      });
  };
  const server = createServer({ requestTimeout: requestTimeoutMs, keepAlive: false }, answer);
  dropIdleOnes(server);
  server.once('listening', () => {
    server.on('error', (error) => log.error({ cause: messageOf(error) }, 'a status server failed'));
  });
  return server.unref();
}

/** The oldest makes way: who holds connections and asks nothing must not keep others from asking. */
function dropIdleOnes(server: Server): void {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    const [oldest] = open;
    if (open.size > connectionsMax) oldest?.destroy();
  });
}

async function listening(
  server: Server,
  where: { path: string } | { host: string; port: number },
): Promise<void> {
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(where, () => {
      server.off('error', fail);
      done();
    });
  });
}

async function closed(server: Server): Promise<void> {
  await new Promise<void>((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });
}
