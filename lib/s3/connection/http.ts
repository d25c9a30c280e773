/**
 * The way to the endpoint: sockets, timeouts, trust, proxies, and how a body is offered.
 *
 * Connections are kept and reused, as many at a time as requests are in flight: the layers above
 * bound those. A kept connection may be gone without a word, and then all of them may, as after a
 * firewall has forgotten them; so what was reset goes by a connection of its own the next time. So
 * does what was met with silence, and the idle connections to that host are closed then: they may
 * lead to the same hung server behind the name, and the next requests would all wait for it in turn.
 *
 * A body is sent without asking first, because waiting for `100 Continue` costs a round trip per part.
 * A server that refuses such a request early may close the connection before its answer is read,
 * which shows as EPIPE or ECONNRESET; the next attempt then does ask first (`Expect: 100-continue`,
 * RFC 9110 section 10.1.1), so that the true status comes through. Through a proxy, and where
 * authorities are named, the library does not wait for the answer to that.
 *
 * Large ranges go by connections of their own where no proxy stands between (wire/lanes.ts), but not
 * what was met with a reset or silence.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';

import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { NodeHttpHandlerOptions } from '@smithy/node-http-handler';
import type { HttpRequest, HttpResponse } from '@smithy/types';

import { silentLog } from '../../log.js';
import type { Log } from '../../log.js';
import { takeBody } from './bounded-answer.js';
import { fromWire, toWire } from '../header-text.js';
import { proxyAgents, proxyFor } from './proxy.js';
import type { Proxy } from './proxy.js';
import { errorFacts, isSilence } from './s3-errors.js';
import type { AttemptStep } from './steps.js';
import { unreadable } from '../streamed-body.js';
import { BrokenAnswer } from '../wire/answer-head.js';
import { Lanes } from '../wire/lanes.js';

type HandlerRequest = Parameters<NodeHttpHandler['handle']>[0];
type HandlerOptions = Parameters<NodeHttpHandler['handle']>[1];
type HandlerResponse = Promise<{ response: HttpResponse }>;

export interface HttpSettings {
  /** time for connecting, for an answer to begin, and for silence in the middle of one */
  readonly timeoutMs: number;
  /** PEM file with certificate authorities to trust besides the usual ones */
  readonly caBundle?: string | undefined;
  /** told of servers that do not speak HTTP; absent: nobody */
  readonly log?: Log;
}

/** A host that does not even answer the handshake in this time is not there. */
const longestConnectMs = 10_000;

/** One way to endpoints: straight, or through one proxy. */
interface Way {
  /** keeps its connections */
  readonly sending: NodeHttpHandler;
  /** those of `sending` */
  readonly agents: readonly HttpAgent[];
  /** opens one for each request, and waits for `100 Continue` */
  readonly asking: NodeHttpHandler;
}

/** Sends requests; one for each client, to be destroyed with it. */
export class HttpHandler extends NodeHttpHandler {
  readonly #common: NodeHttpHandlerOptions;
  readonly #timeoutMs: number;
  readonly #ca: readonly string[] | undefined;
  readonly #lanes: Lanes;
  readonly #log: Log;
  #isBreachTold = false;
  /** by the proxy's URL, empty for none */
  readonly #ways = new Map<string, Way>();
  /** the proxy for each origin, as the environment had it at the first request */
  readonly #proxies = new Map<string, Proxy | undefined>();

  /** @throws Error (system error) if the CA bundle cannot be read */
  constructor(settings: HttpSettings) {
    super();
    this.#timeoutMs = settings.timeoutMs;
    this.#log = settings.log ?? silentLog;
    this.#ca =
      settings.caBundle === undefined
        ? undefined
        : [...rootCertificates, readFileSync(settings.caBundle, 'utf8')];
    const connectMs = Math.min(settings.timeoutMs, longestConnectMs);
    this.#lanes = new Lanes({
      connectMs,
      answerMs: settings.timeoutMs,
      ca: this.#ca,
      onTrouble: (target, error) => this.#onTrouble(target, error),
    });
    this.#common = {
      connectionTimeout: connectMs,
      requestTimeout: settings.timeoutMs,
      socketTimeout: settings.timeoutMs,
      // Without this a request that gets no answer is only complained about.
      throwOnRequestTimeout: true,
    };
  }

  override async handle(request: HandlerRequest, options?: HandlerOptions): HandlerResponse {
    const proxy = this.proxyOf(request);
    const way = this.#way(proxy);
    const isAgain = 'expect' in request.headers;
    toWire(request.headers);
    // Without a body there is nothing to ask for.
    if (Number(request.headers['content-length'] ?? 0) === 0) {
      Reflect.deleteProperty(request.headers, 'expect');
    }
    const handler = isAgain ? way.asking : way.sending;
    const onTrouble = (error: unknown): void => this.#onTrouble(request, error);
    const body: unknown = request.body;
    try {
      const isDirect = proxy === undefined && !isAgain;
      const byLane = isDirect ? await this.#sendByLane(request, options) : undefined;
      const { response } =
        byLane ??
        (await (body instanceof Readable
          ? handleStream(handler, { request, body, options })
          : handler.handle(request, options)));
      if (!isContent(request, response.statusCode)) {
        await takeBody(response, { method: request.method, timeoutMs: this.#timeoutMs });
      } else if (response.body instanceof Readable) {
        response.body.once('error', onTrouble);
      }
      fromWire(response.headers);
      return { response };
    } catch (error) {
      onTrouble(error);
      throw error;
    }
  }

  /** The proxy that requests to this host go through. @throws Error where it cannot be used */
  proxyOf({ protocol, hostname, port }: Target): Proxy | undefined {
    const origin = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`;
    if (!this.#proxies.has(origin)) this.#proxies.set(origin, proxyFor(origin));
    return this.#proxies.get(origin);
  }

  override destroy(): void {
    this.#lanes.destroy();
    for (const { sending, asking } of this.#ways.values()) {
      sending.destroy();
      asking.destroy();
    }
    super.destroy();
  }

  async #sendByLane(
    request: HandlerRequest,
    options: HandlerOptions,
  ): Promise<Awaited<HandlerResponse> | undefined> {
    const signal = options?.abortSignal;
    const isKnown = signal === undefined || signal instanceof AbortSignal;
    if (!isKnown || !this.#lanes.suits(request)) return undefined;
    const response = await this.#lanes.send(request, signal);
    return response === undefined ? undefined : { response };
  }

  #onTrouble(target: Target, error: unknown): void {
    if (isBreach(error)) this.#tellBreach(target, error);
    if (!isSilence(error)) return;
    this.#lanes.closeIdle(target);
    closeIdle(this.#way(this.proxyOf(target)).agents, target);
  }

  /** The first is worth a look; a server that does it once does it often. */
  #tellBreach({ hostname }: Target, { message }: Error): void {
    const text = 'what the endpoint sent is not HTTP; the connection was closed';
    this.#log[this.#isBreachTold ? 'debug' : 'warn']({ host: hostname, error: message }, text);
    this.#isBreachTold = true;
  }

  #way(proxy: Proxy | undefined): Way {
    const name = proxy?.url ?? '';
    let way = this.#ways.get(name);
    if (way === undefined) {
      way = proxy === undefined ? this.#straight() : this.#through(proxy);
      this.#ways.set(name, way);
    }
    return way;
  }

  #straight(): Way {
    const trust = this.#ca === undefined ? {} : { ca: [...this.#ca] };
    const httpAgent = new HttpAgent({ keepAlive: true, scheduling: 'lifo' });
    const httpsAgent = new HttpsAgent({ keepAlive: true, scheduling: 'lifo', ...trust });
    return {
      sending: new NodeHttpHandler({ ...this.#common, httpAgent, httpsAgent }),
      agents: [httpAgent, httpsAgent],
      asking: new NodeHttpHandler({
        ...this.#common,
        httpAgent: { keepAlive: false },
        // The library has its own for those who ask, but that knows nothing of other authorities.
        httpsAgent:
          this.#ca === undefined
            ? { keepAlive: false }
            : new HttpsAgent({ keepAlive: false, ...trust }),
      }),
    };
  }

  #through(proxy: Proxy): Way {
    const trust = this.#ca === undefined ? {} : { ca: this.#ca };
    const kept = proxyAgents(proxy, { keepAlive: true, ...trust });
    const single = proxyAgents(proxy, { keepAlive: false, ...trust });
    return {
      sending: new NodeHttpHandler({ ...this.#common, ...kept }),
      agents: [kept.httpAgent, kept.httpsAgent],
      asking: new NodeHttpHandler({ ...this.#common, ...single }),
    };
  }
}

/** After a reset or silence the next attempt goes by a connection of its own. */
export const askFirst: AttemptStep = (next) => async (args) => {
  try {
    return await next(args);
  } catch (error) {
    const { system } = errorFacts(error);
    const { headers } = args.request as HttpRequest;
    const isGone = system === 'EPIPE' || system === 'ECONNRESET' || isSilence(error);
    if (isGone) headers['expect'] = '100-continue';
    throw error;
  }
};

/** The library pipes a body and does not hear if it breaks: the request would wait for the rest. */
async function handleStream(
  handler: NodeHttpHandler,
  { request, body, options }: { request: HandlerRequest; body: Readable; options: HandlerOptions },
): HandlerResponse {
  const broken = new AbortController();
  body.on('error', () => broken.abort());
  const given = options?.abortSignal;
  const signals = given instanceof AbortSignal ? [given, broken.signal] : [broken.signal];
  try {
    return await handler.handle(request, { ...options, abortSignal: AbortSignal.any(signals) });
  } catch (error) {
    throw body.errored === null ? error : unreadable(body.errored);
  }
}

type Target = Pick<HandlerRequest, 'protocol' | 'hostname' | 'port'>;

/** By the reader of lanes, or by Node's (`HPE_INVALID_CONSTANT`, and so on). */
function isBreach(error: unknown): error is Error {
  if (error instanceof BrokenAnswer) return true;
  return error instanceof Error && 'code' in error && /^HPE_/.test(String(error.code));
}

/** Whether an answer is the content of an object, which its reader takes as it comes. */
function isContent({ query }: HandlerRequest, status: number): boolean {
  // The SDK names the operation in the query of those that share method and path with others.
  return query['x-id'] === 'GetObject' && status < 300;
}

/** Agents keep idle sockets by names that begin with host and port (Node, agent.getName). */
function closeIdle(agents: readonly HttpAgent[], { protocol, hostname, port }: Target): void {
  const host = hostname.replace(/^\[|\]$/g, '');
  const peer = `${host}:${port ?? (protocol === 'https:' ? 443 : 80)}:`;
  for (const { freeSockets } of agents) {
    for (const [name, sockets = []] of Object.entries(freeSockets)) {
      if (name.startsWith(peer)) for (const socket of [...sockets]) socket.destroy();
    }
  }
}

/**
 * How long a request with a body may take until its answer begins: the usual timeout, and the time
 * the body needs at 64 KiB/s, below which an upload is as good as stalled.
 */
export function uploadTimeoutMs(timeoutMs: number, bytes: number): number {
  return timeoutMs + Math.ceil(bytes / 65.536);
}
