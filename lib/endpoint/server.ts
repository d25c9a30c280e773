/**
 * HTTP in, HTTP out: one request from its first byte to the last of its answer.
 *
 * Every answer has a request id; every failure is a document with S3's code (HEAD has no body, so
 * only the status). A client that waits for 100 Continue is told to go on only once its request
 * was found worth it. A read that fails half way breaks the connection, since the status
 * is out already.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { authenticate } from './access/access.js';
import { parseTarget, type Call, type Content, type Reply, type Target } from './call.js';
import { answerCall } from './router.js';
import { S3Error } from './wire/s3-error.js';
import type { Service } from './service.js';
import { answerSts } from './access/sts.js';
import { children, plainDocument } from './wire/xml.js';

/** Hears of failures that are the endpoint's own. */
export type OnInternalError = (error: unknown) => void;

/** Answers requests, and knows which ones it is still at work on. */
export class Front {
  readonly #service: Service;
  readonly #onInternalError: OnInternalError;
  readonly #running = new Set<Promise<void>>();

  constructor(service: Service, onInternalError: OnInternalError) {
    this.#service = service;
    this.#onInternalError = onInternalError;
  }

  /** @param expectsContinue the client waits for 100 Continue before it sends its body */
  answer(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const exchange = new Exchange(this.#service, request, response, expectsContinue);
    const running = exchange.run(this.#onInternalError).catch((error: unknown) => {
      this.#onInternalError(error);
      response.destroy();
    });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
  }

  /** Waits until no request is at work. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }
}

class Exchange {
  readonly #service: Service;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #requestId = randomBytes(8).toString('hex').toUpperCase();
  readonly #hostId = randomBytes(32).toString('base64');
  #owesContinue: boolean;

  constructor(
    service: Service,
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ) {
    this.#service = service;
    this.#request = request;
    this.#response = response;
    this.#owesContinue = expectsContinue;
  }

  async run(onInternalError: OnInternalError): Promise<void> {
    let reply: Reply;
    try {
      reply = await this.#answer();
    } catch (error) {
      if (!(error instanceof S3Error)) onInternalError(error);
      reply = this.#failure(error instanceof S3Error ? error : new S3Error('InternalError'));
    }
    await this.#send(reply);
  }

  async #answer(): Promise<Reply> {
    const request = this.#request;
    const target = parseTarget(
      request.url ?? '/',
      request.headers.host ?? '',
      this.#service.domains,
    );
    if (target.bucket === '' && request.method === 'POST') {
      this.#askForBody();
      return answerSts(this.#service, request, target);
    }
    return answerCall(this.#service, this.#call(target));
  }

  #call(target: Target): Call {
    const request = this.#request;
    return {
      ...target,
      ...authenticate(this.#service, request, target),
      request,
      requestId: this.#requestId,
      header: (name) => {
        const value = request.headers[name];
        return Array.isArray(value) ? value.join(', ') : value;
      },
      askForBody: () => this.#askForBody(),
    };
  }

  #askForBody(): void {
    if (this.#owesContinue) this.#response.writeContinue();
    this.#owesContinue = false;
  }

  #failure(error: S3Error): Reply {
    const body = plainDocument(
      'Error',
      children({
        Code: error.code,
        Message: error.message,
        ...error.elements,
        RequestId: this.#requestId,
        HostId: this.#hostId,
      }),
    );
    return { status: error.status, headers: error.headers, body };
  }

  async #send({ status, headers = {}, body, content }: Reply): Promise<void> {
    const response = this.#response;
    response.statusCode = status;
    response.setHeader('x-amz-request-id', this.#requestId);
    response.setHeader('x-amz-id-2', this.#hostId);
    response.setHeader('server', 's3jail');
    response.setHeader('date', new Date(this.#service.now()).toUTCString());
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    // A client that was never told to send its body may send it all the same: no next request
    // can be told from it.
    if (this.#owesContinue) response.setHeader('connection', 'close');
    if (content !== undefined) return this.#sendContent(content);
    if (body !== undefined) {
      if (!response.hasHeader('content-type'))
        response.setHeader('content-type', 'application/xml');
      response.setHeader('content-length', Buffer.byteLength(body));
    } else if (status !== 204 && status !== 304) response.setHeader('content-length', 0);
    response.end(this.#request.method === 'HEAD' ? undefined : body);
  }

  async #sendContent({ segments, start, end }: Content): Promise<void> {
    const response = this.#response;
    const { blobs } = this.#service.folder;
    try {
      response.setHeader('content-length', end - start);
      if (this.#request.method === 'HEAD') response.end();
      else {
        for await (const piece of blobs.read(segments, start, end)) {
          if (!(await sent(response, piece))) return;
        }
        response.end();
      }
    } finally {
      blobs.release(segments);
    }
  }
}

/**
 * Hands a piece to the kernel; its memory is free then. Not stream.pipeline(): that goes on as soon as
 * a stream has room, with the piece still in it.
 *
 * Node keeps what is written between the end of a socket and the 'close' of its answer, and never
 * calls back for it (`_writeRaw` in lib/_http_outgoing.js).
 * @returns false once the client has gone
 */
function sent(response: ServerResponse, piece: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const onClose = (): void => resolve(false);
    response.once('close', onClose);
    response.write(piece, (error) => {
      response.off('close', onClose);
      resolve(!(error instanceof Error));
    });
  });
}
