/** The laws of the object store about bad connections, on Ceph's S3 gateway, where the environment names one. */
import t from 'tap';
import { cephDeviations } from './suites/store-deviations.js';
import { storeFaultLaws } from './suites/store-laws.js';
import { useServer } from './support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

const isThere = process.env['S3JAIL_TEST_CEPH_URL'] !== undefined;
const why = isThere ? '' : ': not run, S3JAIL_TEST_CEPH_URL is not set (scripts/ceph start)';

void t.test(
  `the store keeps its laws over bad connections to Ceph${why}`,
  { skip: !isThere },
  async (t) => {
    await storeFaultLaws(t, await useServer(t, 'ceph'), cephDeviations());
  },
);
