/** A round through mount and sshd on MinIO, where the environment names one. */
import t from 'tap';
import { serverRound } from '../../suites/server-round.js';
import { testOnServer } from '../../support/servers.js';

t.setTimeout(900_000);

const server = 'minio';

void testOnServer(t, { server, name: 'what users do, on MinIO' }, (t) => serverRound(t, server));
