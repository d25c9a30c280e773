/** The laws of the object store on the embedded endpoint. */
import t from 'tap';
import { embeddedDeviations } from '../suites/store-deviations.js';
import { storeLaws } from '../suites/store-laws.js';
import { useServer } from '../support/servers.js';

// Retries wait, and servers write to disk.
t.setTimeout(600_000);

void t.test('the store keeps its laws on the embedded endpoint', async (t) => {
  await storeLaws(t, await useServer(t, 'embedded'), embeddedDeviations);
});
