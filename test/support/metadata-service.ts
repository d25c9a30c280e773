/** An EC2 instance metadata service, as far as credentials of a role need it. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import type { Credentials } from './servers.js';

export interface MetadataService {
  readonly url: string;
  /** requests without a session token, as version 1 has them */
  readonly untokened: () => number;
}

/** @param versions whether it hands out session tokens, or only knows version 1 */
export async function startMetadataService(
  t: Test,
  credentials: Credentials,
  versions: 'both' | 'only 1',
): Promise<MetadataService> {
  let untokened = 0;
  const answer = (request: IncomingMessage): { status: number; body: string } => {
    if (request.method === 'PUT') {
      return versions === 'both' ? { status: 200, body: 'token' } : { status: 403, body: '' };
    }
    if (request.headers['x-aws-ec2-metadata-token'] !== 'token') untokened += 1;
    const role = '/latest/meta-data/iam/security-credentials/';
    if (request.url === role) return { status: 200, body: 'some-role' };
    return { status: 200, body: JSON.stringify(roleCredentials(credentials)) };
  };
  const server = createServer((request, response) => {
    const { status, body } = answer(request);
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, untokened: () => untokened };
}

function roleCredentials(credentials: Credentials) {
  return {
    Code: 'Success',
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.secretAccessKey,
    Token: '',
    Expiration: new Date(Date.now() + 3_600_000).toISOString(),
  };
}
