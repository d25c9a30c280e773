/**
 * The way through a forward proxy: which one the environment names for a URL, and agents that use it.
 *
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY mean what they mean to curl. A request to an https endpoint
 * goes through a tunnel (CONNECT), so that the proxy sees host and port and nothing else; one to an
 * http endpoint is handed to the proxy whole. User name and password of the proxy go into a header
 * and nowhere else: no message and no field of the agents holds them.
 */
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';

import { isLoopback } from '../../loopback.js';

export interface Proxy {
  /** for messages; without user name and password */
  readonly url: string;
  /** Proxy-Authorization, where the environment has user name and password */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * @param url of the request
 * @throws Error for a proxy that cannot be used; its text may hold a password and is not repeated
 */
export function proxyFor(url: string): Proxy | undefined {
  // No proxy leads back to this machine, so none is asked, also where NO_PROXY does not say so.
  if (isLoopback(new URL(url).hostname)) return undefined;
  const text = getProxyForUrl(url);
  if (text === '') return undefined;
  if (!URL.canParse(text)) throw new Error('the proxy that the environment names is no URL');
  const proxy = new URL(text);
  if (proxy.protocol !== 'http:' && proxy.protocol !== 'https:') {
    throw new Error(`a proxy of kind ${proxy.protocol} cannot be used, only http and https`);
  }
  const { username, password } = proxy;
  if (username === '' && password === '') return { url: proxy.origin, headers: {} };
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const value = `Basic ${Buffer.from(pair).toString('base64')}`;
  return { url: proxy.origin, headers: { 'Proxy-Authorization': value } };
}

/** Agents of one proxy; `ca` are the authorities to trust, the usual ones if absent. */
export function proxyAgents(
  { url, headers }: Proxy,
  settings: { readonly keepAlive: boolean; readonly ca?: readonly string[] },
): { httpAgent: HttpProxyAgent<string>; httpsAgent: HttpsProxyAgent<string> } {
  const { keepAlive, ca } = settings;
  const trust = ca === undefined ? {} : { ca: [...ca] };
  const options = { keepAlive, headers: { ...headers }, scheduling: 'lifo', ...trust } as const;
  return {
    httpAgent: new HttpProxyAgent(url, options),
    httpsAgent: new Tunnels(url, options, trust),
  };
}

/** Tunnels whose refusal by the proxy is not taken for an answer of the endpoint. */
class Tunnels extends HttpsProxyAgent<string> {
  constructor(
    url: string,
    options: ConstructorParameters<typeof HttpsProxyAgent<string>>[1],
    trust: { ca?: string[] },
  ) {
    super(url, options);
    // What the constructor takes is for the way to the proxy; this is for the way through it.
    Object.assign(this.options, trust);
  }

  /** The library looks for https in the call stack, which fails when a socket is given back for reuse. */
  override isSecureEndpoint(): boolean {
    return true;
  }

  override async connect(
    request: ClientRequest,
    options: Parameters<HttpsProxyAgent<string>['connect']>[1],
  ): Promise<Socket> {
    let status: number | undefined;
    request.once('proxyConnect', (answer: { statusCode: number }) => (status = answer.statusCode));
    const socket = await super.connect(request, options);
    if (status === 200) return socket;
    socket.destroy();
    const code = status === 407 ? 'ERR_PROXY_CREDENTIALS' : 'ERR_PROXY_REFUSED';
    throw Object.assign(new Error(`the proxy opens no tunnel (HTTP ${status ?? '?'})`), { code });
  }
}
