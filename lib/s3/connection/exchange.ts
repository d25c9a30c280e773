/**
 * One request and its answer by Node's HTTP client: sent, timed, given up, and its connection watched.
 *
 * Silence is the server's only while it is listened to: a reader without room for what came may take its
 * time. A body that is offered first (`Expect: 100-continue`, RFC 9110 section 10.1.1) is sent when the
 * server wants it, or says nothing to that. What a server says beyond its answer ends the connection,
 * or the next request that goes by it would take that for its own.
 */
import { request as sendPlain } from 'node:http';
import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { request as sendTls } from 'node:https';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

import { buildQueryString } from '@smithy/core/protocols';
import type { HttpRequest, HttpResponse } from '@smithy/types';

import { unreadable } from '../streamed-body.js';
import { BrokenAnswer } from '../wire/answer-head.js';

export interface ExchangeSettings {
  readonly agent: Agent;
  readonly connectMs: number;
  /** until the answer begins, all in all */
  readonly answerMs: number;
  /** without a byte either way */
  readonly silenceMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The answer was whole, and the server went on: the connection has ended. */
  readonly onExcess: (error: Error) => void;
}

/** Servers that do not know `Expect` get the body after so long. */
const longestContinueMs = 6000;

/** @throws Error (system error, TimeoutError, AbortError); StoreError where the body cannot be read */
export function exchange(request: HttpRequest, settings: ExchangeSettings): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    new Exchange(request, settings, { resolve, reject });
  });
}

interface Outcome {
  resolve(answer: HttpResponse): void;
  reject(error: Error): void;
}

/** Connections that were used, and whether they are. */
const connections = new WeakMap<Socket, { user: Exchange | undefined }>();

class Exchange {
  readonly #settings: ExchangeSettings;
  readonly #sending: ClientRequest;
  #socket: Socket | undefined;
  #answer: IncomingMessage | undefined;
  #timer: NodeJS.Timeout;

  constructor(request: HttpRequest, settings: ExchangeSettings, outcome: Outcome) {
    this.#settings = settings;
    const { agent, connectMs, answerMs, signal } = settings;
    const { protocol, hostname, port, method, headers } = request;
    const host = hostname.replace(/^\[|\]$/g, '');
    const send = protocol === 'https:' ? sendTls : sendPlain;
    this.#sending = send({ agent, host, port, method, headers, path: targetOf(request) })
      .on('socket', (socket) => this.#use(socket))
      .on('response', (answer) => {
        clearTimeout(this.#timer);
        this.#answer = answer;
        outcome.resolve(responseOf(answer));
      })
      .on('error', (error) => {
        if (this.#answer === undefined) outcome.reject(error);
        else this.#onLateError(this.#answer, error);
      })
      .on('upgrade', (_, socket) => {
        socket.destroy();
        outcome.reject(new BrokenAnswer('an answer in another protocol'));
      })
      .on('close', () => {
        this.#onClose();
        // Where nothing was said before.
        outcome.reject(new Error('the connection was closed without an answer'));
      });
    this.#timer = setTimeout(() => this.#onConnectTime(), Math.min(connectMs, answerMs));
    if (signal?.aborted === true) this.#onAbort();
    else {
      signal?.addEventListener('abort', this.#onAbort, { once: true });
      this.#send(request.body, 'expect' in headers);
    }
  }

  #send(body: unknown, isOffered: boolean): void {
    const sending = this.#sending;
    const sendBody = (): void => {
      if (body instanceof Readable) {
        body.on('error', (error) => this.#giveUp(unreadable(error))).pipe(sending);
      } else sending.end(body);
    };
    if (!isOffered) {
      sendBody();
      return;
    }
    const continueMs = Math.min(this.#settings.answerMs / 3, longestContinueMs);
    const timer = setTimeout(sendBody, continueMs);
    const stopWaiting = (): void => clearTimeout(timer);
    sending.once('continue', () => {
      stopWaiting();
      sendBody();
    });
    sending.once('response', stopWaiting).once('close', stopWaiting);
    sending.flushHeaders();
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    const { silenceMs } = this.#settings;
    if (socket.timeout !== silenceMs) socket.setTimeout(silenceMs);
    socket.on('timeout', this.#onSilence);
    const known = connections.get(socket);
    if (known !== undefined) {
      known.user = this;
      return;
    }
    const connection: { user: Exchange | undefined } = { user: this };
    connections.set(socket, connection);
    const { onExcess } = this.#settings;
    socket.on('data', () => {
      if (connection.user !== undefined) return;
      socket.destroy();
      onExcess(new BrokenAnswer('an answer nobody asked for'));
    });
  }

  #onClose(): void {
    clearTimeout(this.#timer);
    const { signal } = this.#settings;
    signal?.removeEventListener('abort', this.#onAbort);
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.off('timeout', this.#onSilence);
    const connection = connections.get(socket);
    if (connection?.user === this) connection.user = undefined;
  }

  /** Behind an answer: Node's parser went on, or the connection is gone. */
  #onLateError(answer: IncomingMessage, error: Error): void {
    // Else its reader would only hear that the connection is gone.
    if (!answer.complete) answer.destroy(error);
    else if ('code' in error && /^HPE_/.test(String(error.code))) this.#settings.onExcess(error);
  }

  #onConnectTime(): void {
    const { connectMs, answerMs } = this.#settings;
    if (this.#socket === undefined || this.#socket.connecting) {
      this.#giveUp(timeoutError(`no connection within ${connectMs} ms`));
      return;
    }
    const onTime = (): void => this.#giveUp(timeoutError(`no answer within ${answerMs} ms`));
    this.#timer = setTimeout(onTime, answerMs - connectMs);
  }

  readonly #onSilence = (): void => {
    const { silenceMs } = this.#settings;
    const answer = this.#answer;
    // The request is not sent to its end.
    if (answer?.complete === true) this.#socket?.destroy();
    // What came waits for its reader.
    else if (answer !== undefined && answer.readableLength > 0) this.#socket?.setTimeout(silenceMs);
    else this.#giveUp(timeoutError(`silence for ${silenceMs} ms`));
  };

  readonly #onAbort = (): void => {
    this.#giveUp(Object.assign(new Error('the request was aborted'), { name: 'AbortError' }));
  };

  #giveUp(error: Error): void {
    this.#answer?.destroy(error);
    this.#sending.destroy(error);
  }
}

function targetOf({ path, query = {} }: HttpRequest): string {
  const search = buildQueryString(query);
  return search === '' ? path : `${path}?${search}`;
}

function responseOf(answer: IncomingMessage): HttpResponse {
  const { statusCode = 0, statusMessage: reason = '', headers } = answer;
  // Node joins what comes more than once, but for cookies, which nobody wants.
  Reflect.deleteProperty(headers, 'set-cookie');
  return { statusCode, reason, headers: headers as Record<string, string>, body: answer };
}

function timeoutError(what: string): Error {
  return Object.assign(new Error(what), { name: 'TimeoutError' });
}
