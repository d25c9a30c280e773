/**
 * The mounts that setup made before: so that doing it again changes what was asked alone, and no user is
 * given what is another's. Prefixes that contain each other are told apart by nobody but this.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseVariables, readDefaults, type Variables } from '../host/environment-file.js';
import { Failure, messageOf } from '../host/failure.js';
import { homesName } from '../host/kept-credentials.js';
import { splitOptionList } from '../options/options.js';
import { parseSecretSource, showSource, type Source } from '../options/source.js';
import { readIfThere, unlessAbsent } from './steps.js';
import { fstabLines } from './config-files.js';
import { valueOf } from './mount-words.js';

export const environmentDirectory = '/etc/s3jail';
export const fstab = '/etc/fstab';
/** Of the environment file of a mount that is made on demand: the place where users see it. */
export const onDemandVariable = 'ON_DEMAND_AT';

/** A mount that this machine makes at boot. */
export interface ExistingMount {
  /** of the environment file; for a line of fstab `homes`, the user of `uid=`, else the mount point */
  readonly name: string;
  readonly init: 'systemd' | 'fstab';
  /** as written */
  readonly source: string;
  /** where its user sees it */
  readonly mountPoint: string;
  readonly endpointUrl: string | undefined;
}

export function environmentFile(name: string): string {
  return join(environmentDirectory, `${name}.env`);
}

export async function findExistingMounts(): Promise<ExistingMount[]> {
  const defaults = await readDefaults();
  return [...(await fromEnvironmentFiles(defaults)), ...(await fromFstab(defaults))];
}

async function fromEnvironmentFiles(defaults: Variables): Promise<ExistingMount[]> {
  const found: ExistingMount[] = [];
  for (const file of (await unlessAbsent(readdir(environmentDirectory))) ?? []) {
    if (!file.endsWith('.env')) continue;
    const own = parseVariables(await readFile(join(environmentDirectory, file), 'utf8'));
    const { S3JAIL_SOURCE: source, MOUNTPOINT: mountPoint } = own;
    if (source === undefined || mountPoint === undefined) continue;
    found.push({
      name: file.slice(0, -'.env'.length),
      init: 'systemd',
      source,
      mountPoint: own[onDemandVariable] ?? mountPoint,
      endpointUrl: endpointOf({ ...defaults, ...own }),
    });
  }
  return found;
}

async function fromFstab(defaults: Variables): Promise<ExistingMount[]> {
  const lines = fstabLines((await readIfThere(fstab)) ?? '');
  return lines.map(({ source, mountPoint, options }) => {
    const words = splitOptionList(options) ?? [];
    return {
      name: words.includes('homes') ? homesName : (valueOf(words, 'uid') ?? mountPoint),
      init: 'fstab',
      source,
      mountPoint,
      endpointUrl: valueOf(words, 'endpoint-url') ?? endpointOf(defaults),
    };
  });
}

/** The endpoint that variables name. */
export function endpointOf(variables: Variables): string | undefined {
  return (
    variables['S3JAIL_ENDPOINT_URL'] ??
    variables['AWS_ENDPOINT_URL_S3'] ??
    variables['AWS_ENDPOINT_URL']
  );
}

/** @throws Failure with exit code 1 if `mount` holds what is another's, or the other way */
export function refuseOverlap(
  mount: { source: Source; mountPoint: string; endpointUrl: string | undefined },
  existing: readonly ExistingMount[],
): void {
  for (const other of existing) {
    if (other.mountPoint === mount.mountPoint) continue;
    const source = sourceOf(other);
    const isSameBucket =
      source.bucket === mount.source.bucket && other.endpointUrl === mount.endpointUrl;
    const [mine, theirs] = [mount.source.prefix, source.prefix];
    if (!isSameBucket || !(mine.startsWith(theirs) || theirs.startsWith(mine))) continue;
    throw new Failure(
      1,
      `${showSource(mount.source)} and ${showSource(source)} of ${other.name} contain each ` +
        `other, so that one user would see the other's files; add --overlap if that is meant`,
    );
  }
}

function sourceOf({ name, source, init }: ExistingMount): Source {
  try {
    return parseSecretSource(source);
  } catch (error) {
    const place = init === 'systemd' ? environmentFile(name) : fstab;
    throw new Failure(
      1,
      `the source of ${name} in ${place}, which may not overlap with this one: ${messageOf(error)}; ` +
        'correct it, or add --overlap',
      { cause: error },
    );
  }
}
