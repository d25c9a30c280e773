/** The network between a client and a server: it carries connections until it is cut. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Test } from 'tap';

export interface Relay {
  readonly port: number;
  /** Both ends get a TCP reset. */
  reset(): void;
  /** Nothing is carried any more, and nobody is told. */
  fallSilent(): void;
}

/** Carries connections to `port` of this machine. It goes away with the test. */
export async function startRelay(t: Test, port: number): Promise<Relay> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((client) => {
    const upstream = connect({ port, host: '127.0.0.1' });
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.pipe(upstream).pipe(client);
    for (const socket of pair) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const each of pair) each.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const reset = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };
  t.teardown(() => {
    reset();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    reset,
    fallSilent: () => {
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream).pause();
        upstream.unpipe(client).pause();
      }
    },
  };
}
