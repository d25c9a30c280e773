/**
 * The endpoint as a program of its own: `scripts/s3-endpoint`.
 *
 * Prints its URL as the first line once it answers; ends on SIGTERM and SIGINT. The access key comes from the
 * environment, since arguments are everybody's to read.
 */
import { parseArgs } from 'node:util';
import { startEndpoint, type Endpoint, type EndpointOptions } from './endpoint.js';

const usage = `usage: s3-endpoint --directory DIR [--host HOST] [--port PORT] [--region REGION]
                   [--bucket NAME]... [--etag md5|random] [--no-fsync]
The access key is read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
`;

/**
 * Runs until a signal ends it.
 * @returns the exit status
 */
export async function runStandalone(
  args: string[],
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const options = readArguments(args);
  const accessKeyId = environment['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = environment['AWS_SECRET_ACCESS_KEY'];
  const { directory, etag } = options;
  if (directory === undefined || (etag !== undefined && etag !== 'md5' && etag !== 'random')) {
    process.stderr.write(usage);
    return 1;
  }
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    process.stderr.write('s3-endpoint: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set\n');
    return 1;
  }
  const endpoint = await start({
    directory,
    credentials: [{ accessKeyId, secretAccessKey }],
    buckets: options.bucket ?? [],
    port: Number(options.port ?? 0),
    fsync: !(options['no-fsync'] ?? false),
    onInternalError: (error) => console.error(error),
    ...(options.host !== undefined && { host: options.host }),
    ...(options.region !== undefined && { region: options.region }),
    ...(etag !== undefined && { etag }),
  });
  if (endpoint === undefined) return 2;
  process.stdout.write(`${endpoint.url}\n`);
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await endpoint.close();
  return 0;
}

/** The endpoint, or undefined once it was said why there is none. */
async function start(options: EndpointOptions): Promise<Endpoint | undefined> {
  try {
    return await startEndpoint(options);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    process.stderr.write(`s3-endpoint: ${error.message}\n`);
    return undefined;
  }
}

function readArguments(args: string[]): Arguments {
  try {
    return parse(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`s3-endpoint: ${error.message}\n`);
    return {};
  }
}

interface Arguments {
  directory?: string;
  host?: string;
  port?: string;
  region?: string;
  bucket?: string[];
  etag?: string;
  'no-fsync'?: boolean;
}

function parse(args: string[]): Arguments {
  return parseArgs({
    args,
    options: {
      directory: { type: 'string' },
      host: { type: 'string' },
      port: { type: 'string' },
      region: { type: 'string' },
      bucket: { type: 'string', multiple: true },
      etag: { type: 'string' },
      'no-fsync': { type: 'boolean' },
    },
  }).values;
}
