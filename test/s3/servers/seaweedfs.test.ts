/** The laws of the object store on SeaweedFS, where the environment names one. */
import t from 'tap';
import { deviationsOf } from '../../suites/store-deviations.js';
import { storeLaws } from '../../suites/store-laws.js';
import { testOnServer } from '../../support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

const server = 'seaweedfs';

void testOnServer(t, { server, name: 'the store keeps its laws on SeaweedFS' }, (t, at) =>
  storeLaws(t, at, deviationsOf(server)),
);
