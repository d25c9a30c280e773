/** The store as tests open it: patient for seconds, silent, and closed with the test. */
import type { Test } from 'tap';
import { silentLog } from '../../lib/log.js';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { S3Store } from '../../lib/s3/s3-store.js';
import { testBucket } from './embedded.js';

/** A store below `alice/` in `testBucket`, with credentials from where AWS has them. */
export function useStore(
  t: Test,
  endpointUrl: string,
  options: Partial<StoreOptions> = {},
): S3Store {
  const store = new S3Store(
    {
      bucket: testBucket,
      prefix: 'alice/',
      endpointUrl,
      region: 'us-east-1',
      partSize: 8 * 1024 * 1024,
      uploadConcurrency: 2,
      timeoutMs: 5000,
      maxAttempts: 2,
      ...options,
    },
    silentLog,
  );
  t.teardown(() => store.close());
  return store;
}

/** What verifyBucket has to say. */
export async function complaint(store: S3Store): Promise<string> {
  try {
    await store.verifyBucket();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return 'nothing';
}
