/**
 * What the project does to each request and its answer, whichever way it is sent: by the SDK's client
 * (rare actions) or by its own (wire/own-way.ts). Each step stands between its caller and the next one,
 * as a middleware of the SDK does, and has that form.
 */
import type { S3Client, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3';
import type {
  BuildMiddleware,
  DeserializeMiddleware,
  FinalizeRequestMiddleware,
} from '@smithy/types';

export type CallStep = BuildMiddleware<ServiceInputTypes, ServiceOutputTypes>;
export type AttemptStep = FinalizeRequestMiddleware<ServiceInputTypes, ServiceOutputTypes>;
export type AnswerStep = DeserializeMiddleware<ServiceInputTypes, ServiceOutputTypes>;

/** In the order of their places, and in each the first is the outermost. */
export interface Steps {
  /** around all attempts */
  readonly call: readonly CallStep[];
  /** around each attempt, before it is signed: what is signed is a copy that the next does not see */
  readonly unsigned: readonly AttemptStep[];
  /** around each attempt, once it is signed */
  readonly signed: readonly AttemptStep[];
  /** around the exchange of bytes, before anything of the answer is believed */
  readonly answer: readonly AnswerStep[];
}

/** Makes a client take them. */
export function addSteps({ middlewareStack: stack }: S3Client, steps: Steps): void {
  const named = (place: string, at: number) => ({ name: `s3jail-${place}-${at}` });
  steps.call.forEach((step, at) => {
    stack.add(step, { ...named('call', at), step: 'build', priority: 'low' });
  });
  steps.unsigned.forEach((step, at) => {
    const place = { relation: 'before', toMiddleware: 'httpSigningMiddleware' } as const;
    stack.addRelativeTo(step, { ...named('unsigned', at), ...place });
  });
  steps.signed.forEach((step, at) => {
    stack.add(step, { ...named('signed', at), step: 'finalizeRequest', priority: 'low' });
  });
  steps.answer.forEach((step, at) => {
    stack.add(step, { ...named('answer', at), step: 'deserialize', priority: 'low' });
  });
}
