/**
 * Requests written and answers read by the project itself, for the frequent actions (actions.ts): what
 * the SDK's middleware and schemas do with them costs several times the exchange. Configuration,
 * credentials, signing, the loop of retries and the handler that sends stay the SDK's and the client's,
 * and the project's own steps are those of the client, so that a request behaves the same both ways.
 */
import type { S3Client, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3';
import { getSmithyContext, httpSigningMiddleware } from '@smithy/core';
import { HttpRequest } from '@smithy/core/protocols';
import { retryMiddleware } from '@smithy/core/retry';
import type {
  DeserializeHandler,
  DeserializeHandlerArguments,
  FinalizeHandler,
  HandlerExecutionContext,
  HttpResponse,
} from '@smithy/types';

import type { SendingOptions } from '../connection/http.js';
import type { AttemptStep, Steps } from '../connection/steps.js';
import type { WireAction } from './actions.js';
import { outputOf } from './answer.js';
import { Destinations } from './destination.js';

type Exchange = FinalizeHandler<ServiceInputTypes, ServiceOutputTypes>;

export interface Handler {
  handle(request: HttpRequest, options?: SendingOptions): Promise<{ response: HttpResponse }>;
}

export class OwnWay {
  readonly #handler: Handler;
  readonly #steps: Steps;
  readonly #destinations: Destinations;
  readonly #retrying: AttemptStep;
  readonly #signing: AttemptStep;

  /** @param client has the configuration; no request goes through it */
  constructor(client: S3Client, handler: Handler, steps: Steps) {
    this.#handler = handler;
    this.#steps = steps;
    this.#destinations = new Destinations(client);
    this.#retrying = retryMiddleware(client.config);
    this.#signing = httpSigningMiddleware<ServiceInputTypes, ServiceOutputTypes>(client.config);
  }

  /**
   * Sends a request, with retries.
   * @returns undefined where the SDK has to send it, for what it asks or where it goes
   * @throws as the SDK's client does
   */
  async send(
    action: WireAction,
    input: ServiceInputTypes & { readonly Bucket?: string | undefined },
    options: SendingOptions,
  ): Promise<ServiceOutputTypes | undefined> {
    const asked = action.request(input);
    const to = asked && (await this.#destinations.of(input.Bucket ?? ''));
    if (asked === undefined || to === undefined) return undefined;
    const context: HandlerExecutionContext = { commandName: `${action.name}Command` };
    const { abortSignal } = options;
    Object.assign(getSmithyContext(context), {
      abortSignal,
      selectedHttpAuthScheme: await to.signing(),
    });
    const { protocol, hostname, port, path } = to;
    const { method, query, body } = asked;
    const where = { protocol, hostname, ...(port === undefined ? {} : { port }) };
    const request = new HttpRequest({
      ...where,
      method,
      path: path + asked.path,
      query,
      headers: { ...to.headers, ...asked.headers },
      body,
    });
    const { output } = await this.#exchange(action, context, options)({ input, request });
    return output;
  }

  /** All steps, the outermost first, down to the handler. */
  #exchange(
    action: WireAction,
    context: HandlerExecutionContext,
    options: SendingOptions,
  ): Exchange {
    const { call, unsigned, signed, answer } = this.#steps;
    let raw: DeserializeHandler<ServiceInputTypes, ServiceOutputTypes> = async ({
      request,
    }: DeserializeHandlerArguments<ServiceInputTypes>) =>
      await this.#handler.handle(request as HttpRequest, options);
    for (const step of [...answer].reverse()) raw = step(raw, context);
    let exchange: Exchange = async (args) => {
      const { response } = await raw(args);
      return { response, output: outputOf(action, response as HttpResponse) };
    };
    const steps = [...call, this.#retrying, ...unsigned, this.#signing, ...signed];
    for (const step of steps.reverse()) exchange = step(exchange, context);
    return exchange;
  }
}
