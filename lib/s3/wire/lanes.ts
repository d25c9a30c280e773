/**
 * The way for large answers: connections of their own, beside those of Node's agents.
 *
 * Which requests go by it, and that each finds a connection. They are kept as the agents keep theirs,
 * the one used last first; sessions of TLS are kept for each endpoint.
 */
import { connect as connectPlain, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';

import type { HttpRequest, HttpResponse } from '@smithy/types';

import { systemClock } from '../../clock.js';
import type { Clock } from '../../clock.js';
import { Limitation } from '../../limitation.js';
import { LaneConnection } from './lane-connection.js';
import type { LaneTimes, OnRead } from './lane-connection.js';

/** Below, what is saved is less than a connection more costs. */
const leastBytes = 64 * 1024;
const bufferBytes = 64 * 1024;
/** Idle connections end after so long, as those of Node's agents. */
export const idleMs = 20_000;
const longestLifeMs = 5 * 60_000;

export interface LaneSettings extends Pick<LaneTimes, 'connectMs' | 'answerMs'> {
  /** PEM; undefined: the usual authorities */
  readonly ca: readonly string[] | undefined;
  /** absent: the system's */
  readonly clock?: Clock | undefined;
  /** A connection to there has failed. */
  onTrouble(target: Target, error: Error): void;
}

/** Where a request goes. */
type Target = Pick<HttpRequest, 'protocol' | 'hostname' | 'port'>;

interface Endpoint {
  readonly idle: LaneConnection[];
  /** its answers have no length */
  readonly unfit: Limitation;
  session: Buffer | undefined;
}

export class Lanes {
  readonly #settings: LaneSettings;
  readonly #times: LaneTimes;
  /** for reads of all connections: each is dealt with before the next */
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  /** by origin */
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #all = new Set<LaneConnection>();
  #context: SecureContext | undefined;

  constructor(settings: LaneSettings) {
    this.#settings = settings;
    const { connectMs, answerMs } = settings;
    this.#times = { connectMs, answerMs, idleMs, longestLifeMs };
  }

  /**
   * Whether a request that no proxy stands before may go by this way.
   * @param bytes that its answer may have
   */
  suits(request: HttpRequest, bytes = 0): boolean {
    const { method, query = {} } = request;
    return (
      method === 'GET' &&
      isSchemeKnown(request) &&
      // What the SDK adds to a GET of the latest version.
      Object.entries(query).every(([name, value]) => name === 'x-id' && value === 'GetObject') &&
      bytes > leastBytes &&
      isSendable(request) &&
      !this.#endpoint(request).unfit.holds
    );
  }

  /**
   * @param request a suitable one, its headers one byte a character
   * @returns undefined where it has to be sent another way
   * @throws BrokenAnswer, TimeoutError, AbortError, Error (system error)
   */
  async send(request: HttpRequest, signal?: AbortSignal): Promise<HttpResponse | undefined> {
    const endpoint = this.#endpoint(request);
    for (const connection of [...endpoint.idle]) if (connection.isOld) connection.destroy();
    const connection = endpoint.idle.pop() ?? this.#connect(request, endpoint);
    const answer = await connection.get(wireText(request), signal);
    if (answer === undefined) {
      endpoint.unfit.note();
      return undefined;
    }
    const { head, body } = answer;
    return { statusCode: head.status, reason: head.reason, headers: head.headers, body };
  }

  /** Ends the idle connections to there. */
  closeIdle(target: Target): void {
    for (const connection of [...this.#endpoint(target).idle]) connection.destroy();
  }

  destroy(): void {
    for (const connection of [...this.#all]) connection.destroy();
  }

  #endpoint(target: Target): Endpoint {
    const origin = `${target.protocol}//${target.hostname}:${portOf(target)}`;
    let endpoint = this.#endpoints.get(origin);
    if (endpoint === undefined) {
      endpoint = { idle: [], unfit: new Limitation(), session: undefined };
      this.#endpoints.set(origin, endpoint);
    }
    return endpoint;
  }

  #connect(target: Target, endpoint: Endpoint): LaneConnection {
    const connection: LaneConnection = new LaneConnection({
      buffer: this.#buffer,
      times: this.#times,
      clock: this.#settings.clock ?? systemClock,
      open: (onread) => this.#open(target, { endpoint, onread }),
      onFree: () => endpoint.idle.push(connection),
      onEnd: (error) => {
        this.#all.delete(connection);
        const at = endpoint.idle.indexOf(connection);
        if (at >= 0) endpoint.idle.splice(at, 1);
        if (error !== undefined) this.#settings.onTrouble(target, error);
      },
    });
    this.#all.add(connection);
    return connection;
  }

  #open(target: Target, { endpoint, onread }: { endpoint: Endpoint; onread: OnRead }): Socket {
    const host = target.hostname.replace(/^\[|\]$/g, '');
    const common = { host, port: portOf(target), onread };
    if (target.protocol !== 'https:') return connectPlain({ ...common, noDelay: true });
    const { ca } = this.#settings;
    this.#context ??= createSecureContext(ca === undefined ? {} : { ca: [...ca] });
    const socket = connectTls({
      ...common,
      servername: isIP(host) === 0 ? host : '',
      secureContext: this.#context,
      ALPNProtocols: ['http/1.1'],
      ...(endpoint.session === undefined ? {} : { session: endpoint.session }),
    });
    socket.setNoDelay();
    socket.on('session', (session: Buffer) => (endpoint.session = session));
    // As Node's agent does: a session may be what the server fell over.
    socket.on('close', (hadError: boolean) => {
      if (hadError) endpoint.session = undefined;
    });
    return socket;
  }
}

function isSchemeKnown({ protocol }: Target): boolean {
  return protocol === 'http:' || protocol === 'https:';
}

function portOf({ protocol, port }: Target): number {
  return port ?? (protocol === 'https:' ? 443 : 80);
}

/** Whether no part of it ends a line, or the request: Node refuses others with an error of its own. */
function isSendable({ path, headers }: HttpRequest): boolean {
  if (!/^\/[\x21-\x7e]*$/.test(path)) return false;
  return Object.entries(headers).every(
    ([name, value]) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && !/[^\t\x20-\uffff]|\x7f/.test(value),
  );
}

function wireText({ path, query = {}, headers }: HttpRequest): Buffer {
  const search = 'x-id' in query ? '?x-id=GetObject' : '';
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const text = `GET ${path}${search} HTTP/1.1\r\n${lines.join('')}connection: keep-alive\r\n\r\n`;
  return Buffer.from(text, 'latin1');
}
