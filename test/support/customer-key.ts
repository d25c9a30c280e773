/** A key of SSE-C for tests, as the store has it and as any other program sends it. */
import { randomBytes } from 'node:crypto';
import type { S3Client } from '@aws-sdk/client-s3';
import { CustomerKey } from '../../lib/customer-key.js';

export function newCustomerKey(): CustomerKey {
  return new CustomerKey(randomBytes(32));
}

/** The fields of an input. */
export function customerFields(key: CustomerKey | undefined): object {
  if (key === undefined) return {};
  return { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.base64 };
}

/** The fields of an input that copies. */
export function sourceFields(key: CustomerKey | undefined): object {
  if (key === undefined) return {};
  return {
    CopySourceSSECustomerAlgorithm: 'AES256',
    CopySourceSSECustomerKey: key.base64,
  };
}

const objects =
  /^(?:(?:Head|Get|Put|Copy)Object|(?:Create|Complete)MultipartUpload|UploadPart(?:Copy)?)Command$/;

/** From now on a client writes and reads everything under a key. */
export function useCustomerKey(client: S3Client, key: CustomerKey): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const name = String(context.commandName);
      const target = objects.test(name) ? customerFields(key) : {};
      const source = name.includes('Copy') ? sourceFields(key) : {};
      return next({ ...args, input: { ...args.input, ...target, ...source } });
    },
    { name: 'customerKey', step: 'initialize', priority: 'high' },
  );
}
