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
 * which shows as EPIPE or ECONNRESET; the next attempt then does ask first (`Expect: 100-continue`), so
 * that the true status comes through.
 *
 * Large objects and ranges go by connections of their own where no proxy stands between (wire/lanes.ts), but not
 * what was met with a reset or silence.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';

import type { HttpHandler as SdkHandler } from '@smithy/core/protocols';
import type { HttpHandlerOptions, HttpRequest, HttpResponse } from '@smithy/types';

import type { Clock } from '../../clock.js';
import { silentLog } from '../../log.js';
import type { Log } from '../../log.js';
import { takeBody } from './bounded-answer.js';
import { exchange } from './exchange.js';
import { fromWire, toWire } from '../header-text.js';
import { proxyAgents, proxyFor } from './proxy.js';
import type { Proxy } from './proxy.js';
import { errorFacts, isSilence } from './s3-errors.js';
import type { AttemptStep } from './steps.js';
import { BrokenAnswer } from '../wire/answer-head.js';
import { Lanes, idleMs } from '../wire/lanes.js';

export interface HttpSettings {
  /** time for connecting, for an answer to begin, and for silence in the middle of one */
  readonly timeoutMs: number;
  /** PEM file with certificate authorities to trust besides the usual ones */
  readonly caBundle?: string | undefined;
  /** told of servers that do not speak HTTP; absent: nobody */
  readonly log?: Log;
  /** absent: the system's */
  readonly clock?: Clock | undefined;
}

/** A host that does not even answer the handshake in this time is not there. */
const longestConnectMs = 10_000;
/** Enough to see what is wrong; some of what is told is the server's own words. */
const mostBreachesTold = 8;

interface Agents {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpAgent;
}

/** One way to endpoints: straight, or through one proxy. */
interface Way {
  /** that keep their connections */
  readonly kept: Agents;
  /** that open one for each request */
  readonly single: Agents;
}

export interface SendingOptions extends HttpHandlerOptions {
  /** bytes that the answer may have in its body, where that is known */
  readonly answerBytes?: number;
}

/** Sends requests; one for each client, to be destroyed with it. */
export class HttpHandler implements SdkHandler {
  readonly #timeoutMs: number;
  readonly #connectMs: number;
  readonly #ca: readonly string[] | undefined;
  readonly #lanes: Lanes;
  readonly #log: Log;
  readonly #toldBreaches = new Set<string>();
  /** by the proxy's URL, empty for none */
  readonly #ways = new Map<string, Way>();
  /** the proxy for each origin, as the environment had it at the first request */
  readonly #proxies = new Map<string, Proxy | undefined>();

  /** @throws Error (system error) if the CA bundle cannot be read */
  constructor(settings: HttpSettings) {
    this.#timeoutMs = settings.timeoutMs;
    this.#log = settings.log ?? silentLog;
    this.#ca =
      settings.caBundle === undefined
        ? undefined
        : [...rootCertificates, readFileSync(settings.caBundle, 'utf8')];
    this.#connectMs = Math.min(settings.timeoutMs, longestConnectMs);
    this.#lanes = new Lanes({
      connectMs: this.#connectMs,
      answerMs: settings.timeoutMs,
      ca: this.#ca,
      clock: settings.clock,
      onTrouble: (target, error) => this.#onTrouble(target, error),
    });
  }

  async handle(
    request: HttpRequest,
    options: SendingOptions = {},
  ): Promise<{ response: HttpResponse }> {
    const proxy = this.proxyOf(request);
    const isAgain = 'expect' in request.headers;
    toWire(request.headers);
    // Without a body there is nothing to ask for.
    if (Number(request.headers['content-length'] ?? 0) === 0) {
      Reflect.deleteProperty(request.headers, 'expect');
    }
    const onTrouble = (error: unknown): void => this.#onTrouble(request, error);
    const { requestTimeout: answerMs = this.#timeoutMs, abortSignal, answerBytes } = options;
    const signal = abortSignal instanceof AbortSignal ? abortSignal : undefined;
    try {
      const isDirect = proxy === undefined && !isAgain && this.#lanes.suits(request, answerBytes);
      const response =
        (isDirect ? await this.#lanes.send(request, signal) : undefined) ??
        (await exchange(request, {
          agent: this.#agent(request, proxy, isAgain),
          connectMs: this.#connectMs,
          answerMs,
          silenceMs: this.#timeoutMs,
          signal,
          onExcess: onTrouble,
        }));
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

  /** Of the SDK: there is nothing to configure from outside. */
  updateHttpClientConfig(): void {}

  httpHandlerConfigs(): object {
    return {};
  }

  destroy(): void {
    this.#lanes.destroy();
    for (const { kept, single } of this.#ways.values()) {
      for (const { httpAgent, httpsAgent } of [kept, single]) {
        httpAgent.destroy();
        httpsAgent.destroy();
      }
    }
  }

  #onTrouble(target: Target, error: unknown): void {
    if (isBreach(error)) this.#tellBreach(target, error);
    if (!isSilence(error)) return;
    this.#lanes.closeIdle(target);
    const { httpAgent, httpsAgent } = this.#way(this.proxyOf(target)).kept;
    closeIdle([httpAgent, httpsAgent], target);
  }

  /** Each thing once: a server that does it once does it often. */
  #tellBreach({ hostname }: Target, { message }: Error): void {
    const isNew = this.#toldBreaches.size < mostBreachesTold && !this.#toldBreaches.has(message);
    if (isNew) this.#toldBreaches.add(message);
    const text = 'what the endpoint sent is not HTTP; the connection was closed';
    this.#log[isNew ? 'warn' : 'debug']({ host: hostname, error: message }, text);
  }

  #agent({ protocol }: Target, proxy: Proxy | undefined, isAgain: boolean): HttpAgent {
    const { kept, single } = this.#way(proxy);
    const { httpAgent, httpsAgent } = isAgain ? single : kept;
    return protocol === 'https:' ? httpsAgent : httpAgent;
  }

  #way(proxy: Proxy | undefined): Way {
    const name = proxy?.url ?? '';
    let way = this.#ways.get(name);
    if (way === undefined) {
      const agents = (keepAlive: boolean): Agents =>
        proxy === undefined ? this.#straight(keepAlive) : this.#through(proxy, keepAlive);
      way = { kept: agents(true), single: agents(false) };
      this.#ways.set(name, way);
    }
    return way;
  }

  #straight(keepAlive: boolean): Agents {
    const trust = this.#ca === undefined ? {} : { ca: [...this.#ca] };
    const settings = { keepAlive, scheduling: 'lifo', timeout: idleMs } as const;
    return {
      httpAgent: new HttpAgent(settings),
      httpsAgent: new HttpsAgent({ ...settings, ...trust }),
    };
  }

  #through(proxy: Proxy, keepAlive: boolean): Agents {
    const trust = this.#ca === undefined ? {} : { ca: this.#ca };
    return proxyAgents(proxy, { keepAlive, ...trust });
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

type Target = Pick<HttpRequest, 'protocol' | 'hostname' | 'port'>;

/** By the reader of lanes, or by Node's (`HPE_INVALID_CONSTANT`, and so on). */
function isBreach(error: unknown): error is Error {
  if (error instanceof BrokenAnswer) return true;
  return error instanceof Error && 'code' in error && /^HPE_/.test(String(error.code));
}

/** Whether an answer is the content of an object, which its reader takes as it comes. */
function isContent({ query = {} }: HttpRequest, status: number): boolean {
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
