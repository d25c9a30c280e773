/**
 * The thread of a link; see link.ts. A relay of TCP connections that knows of HTTP only where requests
 * begin: with their method, once the answer to the one before has begun.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { LinkThread } from './link.js';

const { settings, counters } = workerData as LinkThread;
const target = new URL(settings.target);
const [requests, sent, received] = [0, 1, 2];
/** What a pause may have been too long: timers count in milliseconds. */
const credit = 5;

function count(index: number, amount: number): void {
  Atomics.add(counters, index, BigInt(amount));
}

/** Hands on what comes, no faster than the rate, and the first bytes of a request no sooner than the delay. */
class Relay {
  readonly #from: Socket;
  readonly #to: Socket;
  #holds = 0;
  #freeAtMs = 0;

  /** @param see what it makes of bytes; returns the milliseconds they have to wait */
  constructor(from: Socket, to: Socket, see: (chunk: Buffer) => number) {
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => this.#take(chunk, see(chunk)));
    from.on('end', () => to.end());
    // Either end may go at any time; the other one follows when it has what came before.
    from.on('error', () => to.destroySoon());
    from.on('close', () => to.destroySoon());
  }

  #take(chunk: Buffer, delayMs: number): void {
    const nowMs = performance.now();
    const { connectionRate } = settings;
    const lengthMs = connectionRate > 0 ? (chunk.length * 1000) / connectionRate : 0;
    this.#freeAtMs = Math.max(nowMs + delayMs, this.#freeAtMs, nowMs - credit) + lengthMs;
    const waitMs = Math.max(delayMs, this.#freeAtMs - nowMs);
    // Short waits are put together.
    if (waitMs < 2) {
      this.#pass(chunk);
      return;
    }
    this.#hold();
    setTimeout(() => {
      this.#pass(chunk);
      this.#letGo();
    }, waitMs);
  }

  #pass(chunk: Buffer): void {
    if (this.#to.write(chunk)) return;
    this.#hold();
    this.#to.once('drain', () => this.#letGo());
  }

  #hold(): void {
    if (this.#holds++ === 0) this.#from.pause();
  }

  #letGo(): void {
    if (--this.#holds === 0) this.#from.resume();
  }
}

const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
  const upstream = connect({
    ...{ host: target.hostname, port: Number(target.port) },
    ...{ noDelay: true, allowHalfOpen: true },
  });
  let isAnswered = true;
  new Relay(client, upstream, (chunk) => {
    count(sent, chunk.length);
    const begins = isAnswered && /^[A-Z]{3,7} \//.test(chunk.toString('latin1', 0, 9));
    if (!begins) return 0;
    isAnswered = false;
    count(requests, 1);
    return settings.delayMs;
  });
  new Relay(upstream, client, (chunk) => {
    count(received, chunk.length);
    isAnswered = true;
    return 0;
  });
});
server.listen(0, '127.0.0.1', () => {
  // A server listening on a port has an AddressInfo.
  parentPort?.postMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
