/**
 * The way to S3 in a benchmark: a TCP relay that adds latency to each request, gives each connection
 * no more than a bandwidth, and counts requests and bytes. It knows HTTP only as far as to see that a
 * client begins to speak after the server has: with keep-alive connections that is a request.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LinkSettings {
  /** URL of the S3 server */
  readonly target: string;
  /** before each request goes on */
  readonly delayMs: number;
  /** bytes per second, of each connection in each direction; 0 for no cap */
  readonly connectionRate: number;
}

export interface LinkCounts {
  requests: number;
  /** bytes on the wire */
  sent: number;
  received: number;
}

export interface Link {
  readonly url: string;
  readonly counts: Readonly<LinkCounts>;
  reset(): void;
  close(): Promise<void>;
}

export async function startLink(settings: LinkSettings): Promise<Link> {
  const target = new URL(settings.target);
  const counts: LinkCounts = { requests: 0, sent: 0, received: 0 };
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    let isAnswered = true;
    const up = relay(settings.connectionRate, async (chunk) => {
      counts.sent += chunk.length;
      if (!isAnswered) return;
      isAnswered = false;
      counts.requests++;
      if (settings.delayMs > 0) await sleep(settings.delayMs);
    });
    const down = relay(settings.connectionRate, (chunk) => {
      counts.received += chunk.length;
      isAnswered = true;
      return Promise.resolve();
    });
    client.pipe(up).pipe(upstream).pipe(down).pipe(client);
    for (const socket of [client, upstream]) {
      open.add(socket);
      // Either end may go at any time; the other one goes with it.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    counts,
    reset: () => void Object.assign(counts, { requests: 0, sent: 0, received: 0 }),
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function relay(rate: number, see: (chunk: Buffer) => Promise<void>): Transform {
  let freeAtMs = 0;
  return new Transform({
    transform: (chunk: Buffer, _encoding, pass) => {
      const nowMs = performance.now();
      freeAtMs = Math.max(nowMs, freeAtMs) + (rate > 0 ? (chunk.length * 1000) / rate : 0);
      const waitMs = freeAtMs - nowMs;
      // Timers count in milliseconds, so short waits are put together.
      void Promise.all([see(chunk), waitMs >= 2 ? sleep(waitMs) : undefined]).then(() =>
        pass(null, chunk),
      );
    },
  });
}
