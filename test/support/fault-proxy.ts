/**
 * A proxy between a client and an S3 server that counts, writes down, and breaks things.
 *
 * Request line, headers (Host too) and bodies pass as they are, so signatures stay valid. What was
 * sent is known by S3 action; faults befall requests by a plan.
 */
import { once, setMaxListeners } from 'node:events';
import {
  Agent,
  createServer,
  request as startRequest,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { classifyAction } from '../../lib/endpoint/access/actions.js';
import { parseTarget } from '../../lib/endpoint/call.js';
import { S3Error } from '../../lib/endpoint/wire/s3-error.js';
import {
  answerForeign,
  answerHeaders,
  answerInPieces,
  answerItself,
  reset,
  rewriteAnswer,
  stall,
  type Exchange,
  type LoggedRequest,
} from './fault-exchange.js';
import { FaultPlan, type Injection, type InjectionOptions, type ProxyAction } from './faults.js';
import { ClosedGate, type Gate, type GateOptions } from './gate.js';
import { shapeRequest, shapeResponse } from './traffic.js';

export type { LoggedRequest } from './fault-exchange.js';

export interface FaultProxyOptions {
  /** URL of the S3 server, http */
  readonly target: string;
  /** a free port if absent */
  readonly port?: number;
  /** host names below which the first labels are a bucket */
  readonly domains?: readonly string[];
  /** what the server is to be too simple for: answered in its place */
  readonly refuse?: Refusal;
  /** what the server is to take a request for: forwarded in its place, without its signature */
  readonly misread?: Misreading;
}

/** The path and query to read instead of those of a request, or undefined for one that is understood. */
export type Misreading = (request: LoggedRequest, url: string) => string | undefined;

/** How a request is refused, or undefined for one that goes on. */
export type Refusal = (request: LoggedRequest) => { status: number; code: string } | undefined;

export type ActionCounts = Readonly<Partial<Record<ProxyAction, number>>>;

export interface FaultProxy {
  /** what the client has to use as endpoint URL */
  readonly url: string;
  /** requests since the start or the last reset, in order of arrival */
  readonly log: readonly LoggedRequest[];
  /** requests by action since then; absent means none */
  counts(): ActionCounts;
  /** body bytes since then */
  bytes(): { readonly fromClient: number; readonly toClient: number };
  /** forgets log and counts; faults stay */
  reset(): void;
  inject(options: InjectionOptions): Injection;
  /** stops one request until it is let through */
  gate(options: GateOptions): Gate;
  /** requests that are neither answered nor stopped at a gate */
  readonly busy: number;
  /** takes all faults back; stalled connections end */
  clear(): void;
  /** nobody can connect, and whoever is connected is cut off */
  down(): Promise<void>;
  /** back at the same port */
  up(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy on 127.0.0.1. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new Interceptor(options);
  await proxy.up();
  return proxy;
}

class Interceptor implements FaultProxy {
  readonly #target: URL;
  readonly #domains: readonly string[];
  readonly #refuse: Refusal | undefined;
  readonly #misread: Misreading | undefined;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #plan = new FaultPlan();
  /** Aborted by clear, so that stalls end. */
  #patience = newPatience();
  #server = createServer();
  #port: number;
  #log: LoggedRequest[] = [];
  #gates: ClosedGate[] = [];
  #busy = 0;

  constructor(options: FaultProxyOptions) {
    const { target, port = 0, domains = ['s3.localtest', 'localhost'] } = options;
    this.#refuse = options.refuse;
    this.#misread = options.misread;
    this.#target = new URL(target);
    this.#port = port;
    this.#domains = domains;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get log(): readonly LoggedRequest[] {
    return this.#log;
  }

  counts(): ActionCounts {
    const counts: Partial<Record<ProxyAction, number>> = {};
    for (const { action } of this.#log) counts[action] = (counts[action] ?? 0) + 1;
    return counts;
  }

  bytes(): { fromClient: number; toClient: number } {
    const total = { fromClient: 0, toClient: 0 };
    for (const { bytesIn, bytesOut } of this.#log) {
      total.fromClient += bytesIn;
      total.toClient += bytesOut;
    }
    return total;
  }

  reset(): void {
    this.#log = [];
  }

  inject(options: InjectionOptions): Injection {
    return this.#plan.add(options);
  }

  gate(options: GateOptions): Gate {
    const gate = new ClosedGate(options);
    this.#gates.push(gate);
    return gate;
  }

  get busy(): number {
    return this.#busy;
  }

  clear(): void {
    this.#plan.clear();
    for (const gate of this.#gates) gate.open();
    this.#gates = [];
    this.#patience.abort();
    this.#patience = newPatience();
  }

  async down(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async up(): Promise<void> {
    const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 });
    server.on('request', (request, response) => this.#take(request, response, false));
    server.on('checkContinue', (request, response) => this.#take(request, response, true));
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    // A server listening on a port has an AddressInfo.
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async close(): Promise<void> {
    this.clear();
    if (this.#server.listening) await this.down();
    this.#agent.destroy();
  }

  #take(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { action, bucket, key, query } = classify(request, this.#domains);
    const faults = this.#plan.choose(action, key);
    const { authorization, ...headers } = request.headers;
    const entry: LoggedRequest = {
      action,
      method: request.method ?? '',
      bucket,
      key,
      query,
      headers,
      accessKeyId: /Credential=([^/]+)\//.exec(authorization ?? '')?.[1],
      fault: faults.breaking?.kind,
      status: undefined,
      bytesIn: 0,
      bytesOut: 0,
    };
    this.#log.push(entry);
    const patience = this.#patience.signal;
    const gate = this.#gates.find((each) => each.isFor(action, key));
    const exchange = { request, response, faults, entry, expectsContinue, patience, gate };
    this.#busy += 1;
    response.once('close', () => (this.#busy -= 1));
    // Whatever breaks on one side ends the other, as a broken wire would. Not by the socket: a request
    // whose answer has gone out already has none any more.
    this.#handle(exchange).catch(() => {
      request.destroy();
      response.destroy();
    });
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { breaking, latencyMs } = exchange.faults;
    const refusal = this.#refuse?.(exchange.entry);
    if (refusal !== undefined) {
      await answerItself(exchange, { kind: 'status', ...refusal });
      return;
    }
    if (latencyMs > 0) await sleep(latencyMs);
    await this.#passGate(exchange, 'request');
    if (breaking?.kind === 'pieces') await answerInPieces(exchange, breaking);
    else if (breaking?.kind === 'reset-before') reset(exchange);
    else if (breaking?.kind === 'status' || breaking?.kind === 'error-in-200') {
      await answerItself(exchange, breaking);
    } else if (breaking?.kind === 'foreign') await answerForeign(exchange, breaking);
    else await this.#forward(exchange);
  }

  async #passGate({ gate }: Exchange, at: GateOptions['at']): Promise<void> {
    if (gate?.at !== at) return;
    this.#busy -= 1;
    gate.arrive();
    await gate.opened;
    this.#busy += 1;
  }

  async #forward(exchange: Exchange): Promise<void> {
    const { request, response } = exchange;
    const misread = this.#misread?.(exchange.entry, request.url ?? '/');
    const upstream = startRequest({
      host: this.#target.hostname,
      port: this.#target.port,
      method: request.method,
      path: misread ?? request.url,
      headers: misread === undefined ? request.rawHeaders : exchange.entry.headers,
      agent: this.#agent,
    });
    // What fails here is heard of by whoever waits for the answer or pipes the body.
    upstream.on('error', () => undefined);
    response.once('close', () => upstream.destroy());
    const answered = once(upstream, 'response') as Promise<[IncomingMessage]>;
    const sent = this.#sendRequest(exchange, upstream);
    // An early answer ends the sending; its failure then says nothing.
    sent.catch(() => undefined);
    const [answer] = await answered;
    await this.#relay(exchange, answer);
  }

  async #sendRequest(exchange: Exchange, upstream: ClientRequest): Promise<void> {
    const { request, response, expectsContinue } = exchange;
    if (expectsContinue) {
      upstream.flushHeaders();
      await once(upstream, 'continue');
      response.writeContinue();
    }
    await pipeline(shapeRequest(request, exchange.faults, exchange.entry), upstream);
  }

  async #relay(exchange: Exchange, answer: IncomingMessage): Promise<void> {
    const { request, response, faults, entry } = exchange;
    const fault = faults.breaking;
    if (fault?.kind === 'reset-after' || fault?.kind === 'no-answer') {
      answer.resume();
      await once(answer, 'end');
      if (fault.kind === 'no-answer') await stall(exchange);
      reset(exchange);
      return;
    }
    await this.#passGate(exchange, 'answer');
    if (fault?.kind === 'rewrite') {
      await rewriteAnswer(exchange, answer, fault);
      return;
    }
    if (fault?.kind === 'decoded' && !fault.unless(request.headers)) {
      answer.resume();
      entry.status = 200;
      for (const [name, value] of Object.entries(answer.headers)) {
        if (!/^content-(length|range)$/.test(name)) response.setHeader(name, value ?? '');
      }
      response.end(request.method === 'HEAD' ? undefined : fault.content);
      return;
    }
    entry.status = answer.statusCode;
    response.sendDate = false;
    response.writeHead(answer.statusCode ?? 502, answerHeaders(answer, fault));
    // With bytes that are no ASCII in them, Node would flush headers encoded once more.
    if (!/[^\0-\x7f]/.test(answer.rawHeaders.join(''))) response.flushHeaders();
    await pipeline(
      shapeResponse(answer, faults, entry, {
        stall: () => stall(exchange),
        cut: () => void request.socket.end(),
      }),
      response,
    );
  }
}

interface Classified {
  readonly action: ProxyAction;
  readonly bucket: string;
  readonly key: string;
  readonly query: string;
}

function classify(request: IncomingMessage, domains: readonly string[]): Classified {
  const url = request.url ?? '/';
  const method = request.method ?? '';
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : '';
  try {
    const target = parseTarget(url, request.headers.host ?? '', domains);
    const { bucket, key } = target;
    if (bucket === '' && method === 'POST') return { action: 'STS', bucket, key, query };
    const copies = request.headers['x-amz-copy-source'] !== undefined;
    const action = classifyAction({ method, bucket, key, query: target.query, copies });
    return { action: action ?? 'Unknown', bucket, key, query };
  } catch (error) {
    // A target that cannot be read is for the server to refuse.
    if (!(error instanceof S3Error)) throw error;
    return { action: 'Unknown', bucket: '', key: '', query };
  }
}

/** Any number of stalled requests wait for it. */
function newPatience(): AbortController {
  const patience = new AbortController();
  setMaxListeners(0, patience.signal);
  return patience;
}

/** The most requests of a kind that were under way at once, until `work` ends. */
export async function mostAtOnce(
  proxy: FaultProxy,
  action: string,
  work: Promise<unknown>,
): Promise<number> {
  let most = 0;
  const timer = setInterval(() => {
    const open = proxy.log.filter((each) => each.action === action && !each.status);
    most = Math.max(most, open.length);
  }, 5);
  await work.finally(() => clearInterval(timer));
  return most;
}
