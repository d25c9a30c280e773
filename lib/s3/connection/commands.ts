/** Types of the SDK's commands. */
import type {
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import type { Command } from '@smithy/types';

export type AnyCommand<
  Input extends ServiceInputTypes,
  Output extends ServiceOutputTypes,
> = Command<ServiceInputTypes, Input, ServiceOutputTypes, Output, S3ClientResolvedConfig>;

/** Sends a command, with retries. */
export type SendCommand = <Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
  command: AnyCommand<Input, Output>,
) => Promise<Output>;
