/**
 * Where machines of AWS get temporary credentials, over HTTP on loopback: the EC2 instance metadata
 * service (version 2 with its session tokens, version 1), the credential endpoint of ECS and EKS
 * containers, and the portal of SSO. Each answer is a new session, as the test makes it.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

/** Credentials as the services hand them out; `expiresMs` absent for an hour from now. */
export interface HandedOut {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiresMs?: number;
}

export interface CredentialServiceOptions {
  /** called for each answer */
  readonly mint: () => HandedOut;
  /**
   * of the instance metadata: `both`, `only 1` (no session tokens), `only 2` (no answer without one),
   * or `too far`: answers with tokens do not pass the hop limit
   */
  readonly versions?: 'both' | 'only 1' | 'only 2' | 'too far';
  /** what the container endpoint wants as Authorization, and the portal as bearer */
  readonly token?: string;
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

const refused: Answer = { status: 403, body: '' };
const rolePath = '/latest/meta-data/iam/security-credentials/';
const hourMs = 3_600_000;

export class CredentialService {
  readonly #options: CredentialServiceOptions;
  #server: Server | undefined;
  #port = 0;
  #untokened = 0;
  #handedOut = 0;

  constructor(options: CredentialServiceOptions) {
    this.#options = options;
  }

  /** Starts a service that ends with the test. */
  static async start(t: Test, options: CredentialServiceOptions): Promise<CredentialService> {
    const service = new CredentialService(options);
    await service.up();
    t.teardown(() => service.down());
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Metadata requests without a session token, as version 1 has them. */
  get untokened(): number {
    return this.#untokened;
  }

  /** How often credentials were given. */
  get handedOut(): number {
    return this.#handedOut;
  }

  /** At the same port as before. */
  async up(): Promise<void> {
    const server = createServer((request, response) => {
      const { status, body } = this.#answer(request);
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  async down(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  #answer(request: IncomingMessage): Answer {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname === '/container') return this.#container(request);
    if (pathname === '/federation/credentials') return this.#portal(request);
    if (pathname.startsWith('/latest/')) return this.#metadata(request, pathname);
    return { status: 404, body: '' };
  }

  /** EC2 user guide, "Use the Instance Metadata Service". */
  #metadata(request: IncomingMessage, path: string): Answer {
    const { versions = 'both' } = this.#options;
    if (path === '/latest/api/token') {
      const asks = request.headers['x-aws-ec2-metadata-token-ttl-seconds'] !== undefined;
      const gives =
        request.method === 'PUT' && asks && (versions === 'both' || versions === 'only 2');
      return gives ? { status: 200, body: 'token' } : refused;
    }
    if (request.headers['x-aws-ec2-metadata-token'] !== 'token') {
      this.#untokened += 1;
      if (versions === 'only 2' || versions === 'too far') return { status: 401, body: '' };
    }
    if (path === rolePath) return { status: 200, body: 'some-role' };
    return path === `${rolePath}some-role` ? this.#give({ Code: 'Success' }) : refused;
  }

  /** ECS developer guide, "Task IAM role"; EKS Pod Identity speaks the same. */
  #container(request: IncomingMessage): Answer {
    const { token } = this.#options;
    return token !== undefined && request.headers.authorization !== token
      ? refused
      : this.#give({});
  }

  /** SSO portal API, GetRoleCredentials. */
  #portal(request: IncomingMessage): Answer {
    if (request.headers['x-amz-sso_bearer_token'] !== this.#options.token) return refused;
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = this.#mint();
    const roleCredentials = { accessKeyId, secretAccessKey, sessionToken, expiration };
    return { status: 200, body: JSON.stringify({ roleCredentials }) };
  }

  #give(more: object): Answer {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = this.#mint();
    const body = JSON.stringify({
      ...more,
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      Token: sessionToken,
      Expiration: new Date(expiration).toISOString(),
    });
    return { status: 200, body };
  }

  #mint() {
    this.#handedOut += 1;
    const { expiresMs = Date.now() + hourMs, sessionToken = '', ...key } = this.#options.mint();
    return { ...key, sessionToken, expiration: expiresMs };
  }
}
