/**
 * SOURCE, the first argument of `mount`: which bucket and prefix.
 *
 * Two forms are taken everywhere, `s3://bucket/prefix/` and `bucket[/prefix]`, with an access point's ARN for
 * the bucket too; a third,
 * `s3://KEY:SECRET@HOST/BUCKET/prefix`, only from the environment or a private file: the arguments
 * of a process are visible to every user of the machine. `iam_lookup:lookup` in place of the keys
 * stands for the role of the EC2 instance, as users of another product write it; that is no secret
 * and taken everywhere. No message repeats a text that may hold a key.
 */
import { isFsError } from '../errors.js';
import { parseAccessPoint } from './access-point.js';
import { readPrivateFile } from './private-file.js';
import { OptionValueError, quote } from './values.js';
import { normalisePrefix } from '../path.js';

/** What to mount. */
export interface Source {
  /** or the ARN of an access point */
  readonly bucket: string;
  /** empty, or ending in one `/` */
  readonly prefix: string;
  /** where the source itself names the service */
  readonly endpointUrl?: string;
  /** where the source names an AWS endpoint of a region, or an access point */
  readonly region?: string;
  /** where the source itself carries them; never to be printed */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** credentials are those of the EC2 instance's role and no others */
  readonly instanceRole?: true;
}

const instanceRoleForm = 's3://iam_lookup:lookup@';

/** The form with keys in it; a path or prefix may hold `@`, but not before the first `:`. */
const withKeys = /^(?:s3:\/\/)?[^/@:]*:[^@]*@/;

/**
 * SOURCE as an argument.
 * @throws OptionValueError with a sentence that says what is wrong, never repeating keys
 */
export function parseSource(text: string): Source {
  const point = parseAccessPoint(text.replace(/^s3:\/\//i, ''));
  if (point !== undefined) {
    const { arn: bucket, region, rest } = point;
    return { bucket, prefix: prefixOf(rest), region };
  }
  if (text.startsWith(instanceRoleForm)) return parseSecretSource(text);
  if (withKeys.test(text) || /^(?:s3:\/\/)?[^/]*@/.test(text)) {
    throw new OptionValueError(
      'SOURCE holds an access key, and every user of this machine can read the arguments of a ' +
        'process: put it into the environment variable S3JAIL_SOURCE or into a file of mode 0600 ' +
        'named with --source-file and leave the argument out, or use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; consider this key disclosed',
    );
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'http' || scheme === 'https') {
    throw new OptionValueError(
      'SOURCE is a web address; write s3://bucket/prefix/ and name the service with --endpoint-url',
    );
  }
  if (scheme !== undefined && scheme !== 's3') {
    throw new OptionValueError(`SOURCE ${quote(text)} is not s3://bucket/prefix/`);
  }
  return bucketAndPrefix(text.replace(/^s3:\/\//i, ''));
}

/**
 * SOURCE from the environment or a private file, where it may carry keys and the host.
 * @throws OptionValueError as parseSource
 */
export function parseSecretSource(text: string): Source {
  if (!withKeys.test(text) || /^(?:s3:\/\/)?arn:aws/i.test(text)) return parseSource(text);
  const form = 's3://KEY:SECRET@HOST/BUCKET/prefix with odd characters of the secret as %XX';
  const match = /^s3:\/\/([^/@:]+):([^@]+)@([^/@]+)\/(.+)$/.exec(text);
  const [, id, secret, host, rest] = match ?? [];
  if (id === undefined || secret === undefined || host === undefined || rest === undefined) {
    throw new OptionValueError(`is not ${form}`);
  }
  const service = serviceAt(host);
  if (service === undefined) throw new OptionValueError(`names no host; write it as ${form}`);
  if (text.startsWith(instanceRoleForm)) {
    return { ...bucketAndPrefix(rest), ...service, instanceRole: true };
  }
  const credentials = { accessKeyId: decoded(id), secretAccessKey: decoded(secret) };
  return { ...bucketAndPrefix(rest), ...service, credentials };
}

/** AWS's own hosts are not kept as such: a bucket has a better one, made of its name and region. */
function serviceAt(host: string): Pick<Source, 'endpointUrl' | 'region'> | undefined {
  const aws = /^s3(?:[.-]([a-z]{2}(?:-[a-z]+)+-\d))?\.amazonaws\.com(?:\.cn)?$/i.exec(host);
  if (aws !== null) return aws[1] === undefined ? {} : { region: aws[1].toLowerCase() };
  const endpointUrl = `https://${host}`;
  if (!URL.canParse(endpointUrl) || new URL(endpointUrl).host !== host.toLowerCase()) return;
  return { endpointUrl };
}

/**
 * SOURCE from a file that only its owner can read: its one line that is neither empty nor a comment.
 * @param path absolute
 * @throws OptionValueError where it cannot be read, others could read it, or as parseSecretSource
 */
export function readSourceFile(path: string): Source {
  const text = readPrivateFile(path, 'may hold a key').toString('utf8');
  const lines = text.split('\n').map((line) => line.trim());
  const [line, ...more] = lines.filter((each) => each !== '' && !each.startsWith('#'));
  if (line === undefined || more.length > 0) {
    throw new OptionValueError(`${quote(path)} has to hold one line, SOURCE`);
  }
  return parseSecretSource(line);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    // URIError: a `%` that starts no escape. The text is a key, so the cause is not passed on.
    if (error instanceof URIError) {
      throw new OptionValueError(
        'holds a % that is not followed by two hexadecimal digits; write %25',
      );
    }
    throw error;
  }
}

function bucketAndPrefix(text: string): { bucket: string; prefix: string } {
  const slash = text.indexOf('/');
  const bucket = slash < 0 ? text : text.slice(0, slash);
  checkBucketName(bucket);
  return { bucket, prefix: prefixOf(slash < 0 ? '' : text.slice(slash + 1)) };
}

/** @throws OptionValueError */
function prefixOf(text: string): string {
  try {
    return normalisePrefix(text);
  } catch (error) {
    if (isFsError(error)) throw new OptionValueError(`SOURCE: ${error.message}`);
    throw error;
  }
}

/**
 * S3 user guide, "General purpose bucket naming rules". Names of before 2018 with capitals or
 * underscores are let through up to 255 letters: such buckets still exist and old S3-compatible
 * services still make them; the service has the last word. What could be mistaken for a path, an
 * address or an option is refused here.
 * @throws OptionValueError
 */
function checkBucketName(bucket: string): void {
  const fault = bucketFault(bucket);
  if (fault === undefined) return;
  // A colon may stand between a key and its secret, so such a text is not repeated.
  const shown = bucket.includes(':') ? 'its name' : quote(bucket);
  throw new OptionValueError(
    `SOURCE names no valid bucket: ${shown} ${fault}; write s3://bucket/prefix/`,
  );
}

function bucketFault(bucket: string): string | undefined {
  if (bucket === '') return 'is empty';
  if (!/^[A-Za-z0-9._-]*$/.test(bucket)) {
    return 'holds characters other than letters, digits, dots and hyphens';
  }
  if (bucket.length < 3) return 'is shorter than 3 letters';
  const isOld = /[A-Z_]/.test(bucket);
  if (bucket.length > (isOld ? 255 : 63)) return `is longer than ${isOld ? 255 : 63} letters`;
  if (!/^[A-Za-z0-9].*[A-Za-z0-9]$/.test(bucket))
    return 'has to start and end with a letter or digit';
  if (bucket.includes('..')) return 'has two dots in a row';
  // S3 user guide, "Directory bucket naming rules"; `--xa-s3` is an access point's of one.
  if (/--xa?-s3$/.test(bucket)) {
    return (
      'is a directory bucket (S3 Express One Zone), which is not supported because it lists names ' +
      'in no order; use a general purpose bucket'
    );
  }
  if (/^\d+\.\d+\.\d+\.\d+$/.test(bucket)) return 'looks like an IP address';
  return undefined;
}

/** A source as mount(8), df(1), logs and messages show it. */
export function showSource(source: Source): string {
  return `s3://${source.bucket}/${source.prefix}`;
}
