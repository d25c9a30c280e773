/**
 * An access point's ARN in place of a bucket's name (S3 user guide, "Using access points for general
 * purpose buckets"). Its alias is a bucket name like any other.
 */
import { OptionValueError, quote } from './values.js';

export interface AccessPoint {
  /** in the one form that every request takes it in */
  readonly arn: string;
  readonly region: string;
  /** what follows the ARN and a slash */
  readonly rest: string;
}

const form = 'arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/prefix/';
const pattern =
  /^arn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):(\d*):([a-z]+)[/:]([^/:]+)(?:\/(.*))?$/s;

/**
 * @returns undefined where the text is no ARN
 * @throws OptionValueError for an ARN of something else
 */
export function parseAccessPoint(text: string): AccessPoint | undefined {
  if (!text.startsWith('arn:aws')) return undefined;
  const match = pattern.exec(text);
  const [, partition, service, region, account, resource, name, rest = ''] = match ?? [];
  if (service === 's3express' || name?.endsWith('--xa-s3') === true) {
    throw new OptionValueError(
      'SOURCE is an access point of a directory bucket (S3 Express One Zone), which is not supported because it lists names in no order',
    );
  }
  if (service === 's3' && resource === 'accesspoint' && region === '' && name !== undefined) {
    throw new OptionValueError(
      `SOURCE ${quote(name)} is a Multi-Region Access Point, which is not supported because its buckets agree only after a while; name the access point of one region, ${form}`,
    );
  }
  const isWhole =
    service === 's3' &&
    resource === 'accesspoint' &&
    region !== undefined &&
    /^\d{12}$/.test(account ?? '') &&
    /^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]$/.test(name ?? '');
  if (!isWhole) {
    throw new OptionValueError(`SOURCE is the ARN of no access point for a bucket; write ${form}`);
  }
  const arn = `arn:${partition ?? ''}:s3:${region}:${account ?? ''}:accesspoint/${name ?? ''}`;
  return { arn, region, rest };
}

/** An alias looks so, and no bucket may (S3 user guide, "General purpose bucket naming rules"). */
export function isAccessPointAlias(bucket: string): boolean {
  return bucket.endsWith('-s3alias');
}
