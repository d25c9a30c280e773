/**
 * The laws of the object store, for any S3 server: what lib/store.ts promises, checked with the
 * store on one side and a client that is nothing of ours on the other, and a proxy in between that
 * counts and breaks requests.
 */
import type { Test } from 'tap';
import type { StoreOptions } from '../../lib/s3/connection/client.js';
import { startFaultProxy } from '../support/fault-proxy.js';
import type { TestServer } from '../support/servers.js';
import { conditionLaws } from './store-condition-laws.js';
import { copyLaws } from './store-copy-laws.js';
import type { Deviations } from './store-deviations.js';
import { fileLaws } from './store-file-laws.js';
import { makeStore } from './store-law-setup.js';
import type { LawSetup } from './store-law-setup.js';
import { directoryLaws } from './store-directory-laws.js';
import { evidenceLaws } from './store-evidence-laws.js';
import { listingLaws } from './store-listing-laws.js';
import { multipartLaws } from './store-multipart-laws.js';
import { objectLaws } from './store-object-laws.js';
import { readFaultLaws } from './store-read-fault-laws.js';
import { writeFaultLaws } from './store-write-fault-laws.js';

/** Runs the laws of single requests on a server, in a bucket of the test's own. */
export async function storeLaws(
  t: Test,
  server: TestServer,
  deviations: Deviations,
  options: Partial<StoreOptions> = {},
): Promise<void> {
  const setup = await makeSetup(t, server, deviations, options);
  await t.test('objects', (t) => objectLaws(t, setup));
  await t.test('listings', (t) => listingLaws(t, setup));
  await t.test('conditions', (t) => conditionLaws(t, setup));
  await t.test('multipart uploads', (t) => multipartLaws(t, setup));
  await t.test('copies', (t) => copyLaws(t, setup));
  await t.test('directories', (t) => directoryLaws(t, setup));
  await t.test('files', (t) => fileLaws(t, setup));
}

/** The same for the laws of bad connections and lost answers. */
export async function storeFaultLaws(
  t: Test,
  server: TestServer,
  deviations: Deviations,
): Promise<void> {
  const setup = await makeSetup(t, server, deviations);
  await t.test('reading', (t) => readFaultLaws(t, setup));
  await t.test('writing', (t) => writeFaultLaws(t, setup));
  await t.test('evidence', (t) => evidenceLaws(t, setup));
}

/** @param options of all stores of the laws */
async function makeSetup(
  t: Test,
  server: TestServer,
  deviations: Deviations,
  options: Partial<StoreOptions> = {},
): Promise<LawSetup> {
  const proxy = await startFaultProxy({ target: server.url });
  t.teardown(() => proxy.close());
  return {
    server,
    bucket: server.bucket,
    proxy,
    deviations,
    isClientTried: server.name === 'embedded',
    makeStore: (test, own) => makeStore(test, { server, proxy }, { ...options, ...own }),
  };
}
