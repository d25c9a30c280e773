/** The laws of the object store under SSE-C, on the embedded endpoint. */
import t from 'tap';
import { customerKeyLaws } from '../suites/customer-key-laws.js';
import { embeddedDeviations } from '../suites/store-deviations.js';
import { useServer } from '../support/servers.js';

t.setTimeout(600_000);

void t.test('the store keeps its laws under SSE-C', async (t) => {
  // What it tags an upload with proves nothing either.
  const deviations = { ...embeddedDeviations, namesVersions: false };
  await customerKeyLaws(t, await useServer(t, 'embedded'), deviations);
});
