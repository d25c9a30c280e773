/**
 * Where requests about a bucket go and how they are signed, by the SDK's own rules on its client's
 * configuration: endpoint, region, FIPS, dual stack, path style, access points by ARN, credentials. The
 * rules are asked once for each region, because what they decide on does not change while a client
 * lives.
 */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import { getEndpointFromInstructions } from '@smithy/core/endpoints';
import type { AuthScheme, SelectedHttpAuthScheme } from '@smithy/types';

export interface Destination {
  readonly protocol: string;
  readonly hostname: string;
  readonly port: number | undefined;
  /** before the key, without a slash at its end */
  readonly path: string;
  /** of every request */
  readonly headers: Readonly<Record<string, string>>;
  /** for one call. @throws what the provider of credentials throws */
  signing(): Promise<SelectedHttpAuthScheme>;
}

export class Destinations {
  readonly #client: S3Client;
  /** by region and bucket */
  readonly #known = new Map<string, Promise<Destination | undefined>>();

  constructor(client: S3Client) {
    this.#client = client;
  }

  /** @returns undefined where a request takes more than Signature Version 4 in headers */
  async of(bucket: string): Promise<Destination | undefined> {
    const region = await this.#client.config.region();
    const name = `${region}/${bucket}`;
    let known = this.#known.get(name);
    if (known === undefined) {
      known = this.#resolve(bucket);
      this.#known.set(name, known);
      // What failed may be another time: configuration files, say.
      known.catch(() => this.#known.delete(name));
    }
    return await known;
  }

  async #resolve(Bucket: string): Promise<Destination | undefined> {
    const { config } = this.#client;
    const endpoint = await getEndpointFromInstructions({ Bucket }, HeadObjectCommand, config, {});
    const { url, properties, headers: more } = endpoint;
    const [scheme] = (properties?.['authSchemes'] ?? []) as readonly AuthScheme[];
    const { signer } = config.httpAuthSchemes.find((one) => one.schemeId === schemeId) ?? {};
    if (scheme?.name !== 'sigv4' || signer === undefined || url.search !== '') return undefined;
    const own = Object.entries(more ?? {}).map(([name, values]) => [name, values.join(', ')]);
    const signingConfig = await reusing(config, scheme);
    return {
      protocol: url.protocol,
      hostname: url.hostname,
      port: url.port === '' ? undefined : Number(url.port),
      path: url.pathname.replace(/\/$/, ''),
      headers: {
        ...(Object.fromEntries(own) as Record<string, string>),
        host: url.host,
        'user-agent': await userAgent(config),
      },
      signing: async () => ({
        httpAuthOption: {
          schemeId,
          signingProperties: {
            ...scheme,
            config: signingConfig,
            context: { endpointV2: endpoint },
          },
        },
        identity: await config.credentials(),
        signer,
      }),
    };
  }
}

const schemeId = 'aws.auth#sigv4';

/** What the SDK's signing reads of the configuration, with one signer for all requests. */
async function reusing(config: S3Client['config'], scheme: AuthScheme): Promise<object> {
  const signer = await config.signer(scheme);
  return {
    signer: () => Promise.resolve(signer),
    disableClockSkewCorrection: config.disableClockSkewCorrection,
    get systemClockOffset() {
      return config.systemClockOffset;
    },
    set systemClockOffset(ms: number) {
      config.systemClockOffset = ms;
    },
  };
}

async function userAgent(config: S3Client['config']): Promise<string> {
  const parts = await config.defaultUserAgentProvider();
  return parts.map((part) => part.filter((text) => text !== '').join('/')).join(' ');
}
