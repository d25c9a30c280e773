/** The laws of the object store under SSE-C, where every other program has the key too. */
import type { Test } from 'tap';
import { newCustomerKey, useCustomerKey } from '../support/customer-key.js';
import type { TestServer } from '../support/servers.js';
import type { Deviations } from './store-deviations.js';
import { storeLaws } from './store-laws.js';

export async function customerKeyLaws(
  t: Test,
  server: TestServer,
  deviations: Deviations,
): Promise<void> {
  const key = newCustomerKey();
  useCustomerKey(server.bucket.client, key);
  await storeLaws(t, server, { ...deviations, tagsByMd5: false }, { customerKeys: [key] });
}
