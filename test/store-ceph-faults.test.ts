/** The laws of the object store about bad connections, on Ceph's S3 gateway, where the environment names one. */
import t from 'tap';
import { cephDeviations } from './suites/store-deviations.js';
import { storeFaultLaws } from './suites/store-laws.js';
import { testOnCeph } from './support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

void testOnCeph(t, 'the store keeps its laws over bad connections to Ceph', (t, server) =>
  storeFaultLaws(t, server, cephDeviations()),
);
