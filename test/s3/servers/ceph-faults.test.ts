/** The laws of the object store about bad connections, on Ceph, where the environment names one. */
import t from 'tap';
import { deviationsOf } from '../../suites/store-deviations.js';
import { storeFaultLaws } from '../../suites/store-laws.js';
import { testOnServer } from '../../support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

const server = 'ceph';

void testOnServer(
  t,
  { server, name: 'the store keeps its laws over bad connections to Ceph' },
  (t, at) => storeFaultLaws(t, at, deviationsOf(server)),
);
