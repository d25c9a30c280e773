/** The laws of the object store under SSE-C, on servers that nobody here wrote, where they are there. */
import t from 'tap';
import { customerKeyLaws } from '../../suites/customer-key-laws.js';
import { deviationsOf } from '../../suites/store-deviations.js';
import { testOnMinioOverTls } from '../../support/minio-over-tls.js';
import { testOnServer } from '../../support/servers.js';

t.setTimeout(900_000);

void testOnServer(t, { server: 'garage', name: 'the laws under SSE-C on Garage' }, (t, at) =>
  customerKeyLaws(t, at, deviationsOf('garage')),
);

testOnMinioOverTls('the laws under SSE-C on MinIO', async (t, { server }) => {
  await customerKeyLaws(t, server, { ...deviationsOf('minio'), mistakesMarkers: true });
});
