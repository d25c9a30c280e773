/** A round through mount and sshd on versitygw, where the environment names one. */
import t from 'tap';
import { serverRound } from '../../suites/server-round.js';
import { testOnServer } from '../../support/servers.js';

t.setTimeout(900_000);

const server = 'versitygw';

void testOnServer(t, { server, name: 'what users do, on versitygw' }, (t) =>
  serverRound(t, server),
);
