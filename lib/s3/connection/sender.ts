/**
 * One client of the SDK's, and the project's own way beside it: whoever sends a command does not know
 * which of them it takes.
 */
import type { S3Client, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3';

import { actions } from '../wire/actions.js';
import { OwnWay } from '../wire/own-way.js';
import type { HttpHandler, SendingOptions } from './http.js';
import type { AnyCommand } from './commands.js';
import { addSteps } from './steps.js';
import type { Steps } from './steps.js';

export class Sender {
  readonly client: S3Client;
  readonly #own: OwnWay;

  constructor(client: S3Client, handler: HttpHandler, steps: Steps) {
    this.client = client;
    addSteps(client, steps);
    this.#own = new OwnWay(client, handler, steps);
  }

  /** @throws what the SDK throws, or in that form */
  async send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: AnyCommand<Input, Output>,
    options: SendingOptions,
  ): Promise<Output> {
    const action = actions.get(command.constructor);
    const output = action && (await this.#own.send(action, command.input, options));
    return (output as Output | undefined) ?? (await this.client.send(command, options));
  }

  /** Closes the connections. */
  destroy(): void {
    this.client.destroy();
  }
}
