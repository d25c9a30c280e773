/**
 * The embedded endpoint for one test, in a directory of its own, and clients to it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client, S3ServiceException, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { Test } from 'tap';
import { startEndpoint, type Endpoint, type EndpointOptions } from '../../lib/endpoint/endpoint.js';

export const testKey = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret-of-the-test' };
/** The same as AWS's environment variables. */
export const keyVariables = {
  AWS_ACCESS_KEY_ID: testKey.accessKeyId,
  AWS_SECRET_ACCESS_KEY: testKey.secretAccessKey,
};
export const testBucket = 'bucket';

/** A directory that goes away with the test. */
export async function temporaryDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 's3jail-endpoint-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** An endpoint with `testBucket` that ends with the test; fsync off, since nothing pulls the plug. */
export async function useEndpoint(
  t: Test,
  options: Partial<EndpointOptions> = {},
): Promise<Endpoint> {
  const directory = options.directory ?? (await temporaryDirectory(t));
  const endpoint = await startEndpoint({
    directory,
    credentials: [testKey],
    buckets: [testBucket],
    fsync: false,
    onInternalError: (error) => t.fail('the endpoint failed inside', { found: error }),
    ...options,
  });
  t.teardown(() => endpoint.close());
  return endpoint;
}

/** A client that tries once, so that a test sees each answer. */
export function useClient(t: Test, url: string, config: S3ClientConfig = {}): S3Client {
  const client = new S3Client({
    endpoint: url,
    credentials: testKey,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    ...config,
  });
  t.teardown(() => client.destroy());
  return client;
}

/** What a failed call was answered with, as `status code`. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof S3ServiceException)) throw error;
    return `${error.$metadata.httpStatusCode ?? 0} ${error.name}`;
  }
  return 'accepted';
}
