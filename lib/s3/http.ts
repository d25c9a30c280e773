/**
 * The way to the endpoint: sockets, timeouts, trust, and how a body is offered.
 *
 * Connections are kept and reused, as many at a time as requests are in flight: the layers above
 * bound those. A body is sent without asking first, because waiting for `100 Continue` costs a round
 * trip per part. A server that refuses such a request early may close the connection before its
 * answer is read, which shows as EPIPE or ECONNRESET; the next attempt then does ask first
 * (`Expect: 100-continue`, RFC 9110 section 10.1.1), so that the true status comes through.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { rootCertificates } from 'node:tls';

import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { NodeHttpHandlerOptions } from '@smithy/node-http-handler';

type HandlerRequest = Parameters<NodeHttpHandler['handle']>[0];
type HandlerOptions = Parameters<NodeHttpHandler['handle']>[1];
type HandlerResponse = ReturnType<NodeHttpHandler['handle']>;

export interface HttpSettings {
  /** time for connecting, for an answer to begin, and for silence in the middle of one */
  readonly timeoutMs: number;
  /** PEM file with certificate authorities to trust besides the usual ones */
  readonly caBundle?: string | undefined;
}

/** A host that does not even answer the handshake in this time is not there. */
const longestConnectMs = 10_000;

/** Sends requests; one for each client, to be destroyed with it. */
export class HttpHandler extends NodeHttpHandler {
  /** Waits for `100 Continue`; given no agent of ours, the library opens a connection of its own. */
  readonly #asking: NodeHttpHandler;

  /** @throws Error (system error) if the CA bundle cannot be read */
  constructor(settings: HttpSettings) {
    const trust =
      settings.caBundle === undefined
        ? {}
        : { ca: [...rootCertificates, readFileSync(settings.caBundle, 'utf8')] };
    const common: NodeHttpHandlerOptions = {
      connectionTimeout: Math.min(settings.timeoutMs, longestConnectMs),
      requestTimeout: settings.timeoutMs,
      socketTimeout: settings.timeoutMs,
      // Without this a request that gets no answer is only complained about.
      throwOnRequestTimeout: true,
    };
    super({
      ...common,
      httpAgent: new HttpAgent({ keepAlive: true, scheduling: 'lifo' }),
      httpsAgent: new HttpsAgent({ keepAlive: true, scheduling: 'lifo', ...trust }),
    });
    this.#asking = new NodeHttpHandler({ ...common, httpsAgent: { keepAlive: false, ...trust } });
  }

  override handle(request: HandlerRequest, options?: HandlerOptions): HandlerResponse {
    if ('expect' in request.headers) return this.#asking.handle(request, options);
    return super.handle(request, options);
  }

  override destroy(): void {
    this.#asking.destroy();
    super.destroy();
  }
}

/**
 * How long a request with a body may take until its answer begins: the usual timeout, and the time
 * the body needs at 64 KiB/s, below which an upload is as good as stalled.
 */
export function uploadTimeoutMs(timeoutMs: number, bytes: number): number {
  return timeoutMs + Math.ceil(bytes / 65.536);
}
