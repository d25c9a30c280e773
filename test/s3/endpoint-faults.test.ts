/** The laws of the object store about bad connections, on the embedded endpoint. */
import t from 'tap';
import '../support/no-jitter.js';
import { embeddedDeviations } from '../suites/store-deviations.js';
import { storeFaultLaws } from '../suites/store-laws.js';
import { useServer } from '../support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

void t.test('the store keeps its laws over bad connections to the embedded endpoint', async (t) => {
  await storeFaultLaws(t, await useServer(t, 'embedded'), embeddedDeviations);
});
