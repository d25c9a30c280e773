/**
 * The mounts that setup made before, so that no user is given what is another's: prefixes that
 * contain each other are told apart by nobody but this.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../host/failure.js';
import { splitOptionList } from '../options/options.js';
import { parseSecretSource, showSource, type Source } from '../options/source.js';
import { readIfThere, unlessAbsent } from './steps.js';
import { fstabLines, readVariable } from './config-files.js';

export const environmentDirectory = '/etc/s3jail';
export const fstab = '/etc/fstab';

/** A mount that this machine makes at boot. */
export interface ExistingMount {
  /** user for an environment file, mount point for a line of fstab */
  readonly name: string;
  readonly source: Source;
  readonly mountPoint: string;
  readonly endpointUrl: string | undefined;
}

export function environmentFile(user: string): string {
  return join(environmentDirectory, `${user}.env`);
}

export async function findExistingMounts(): Promise<ExistingMount[]> {
  return [...(await fromEnvironmentFiles()), ...(await fromFstab())];
}

async function fromEnvironmentFiles(): Promise<ExistingMount[]> {
  const found: ExistingMount[] = [];
  for (const file of (await unlessAbsent(readdir(environmentDirectory))) ?? []) {
    if (!file.endsWith('.env')) continue;
    const text = await readFile(join(environmentDirectory, file), 'utf8');
    const source = readVariable(text, 'S3JAIL_SOURCE');
    const mountPoint = readVariable(text, 'MOUNTPOINT');
    if (source === undefined || mountPoint === undefined) continue;
    const own = readVariable(text, 'S3JAIL_ENDPOINT_URL');
    found.push({
      name: file.slice(0, -'.env'.length),
      source: parseSecretSource(source),
      mountPoint,
      endpointUrl: own ?? readVariable(text, 'AWS_ENDPOINT_URL'),
    });
  }
  return found;
}

async function fromFstab(): Promise<ExistingMount[]> {
  const lines = fstabLines((await readIfThere(fstab)) ?? '');
  return lines.map(({ source, mountPoint, options }) => ({
    name: mountPoint,
    source: parseSecretSource(source),
    mountPoint,
    endpointUrl: endpointIn(options),
  }));
}

/** The endpoint that an `-o` list names. */
export function endpointIn(list: string): string | undefined {
  const option = splitOptionList(list)?.findLast((each) => /^endpoint[-_]url=/.test(each));
  return option?.slice('endpoint-url='.length);
}

/** @throws Failure with exit code 1 if `mount` holds what is another's, or the other way */
export function refuseOverlap(
  mount: Omit<ExistingMount, 'name'>,
  existing: readonly ExistingMount[],
): void {
  for (const other of existing) {
    if (other.mountPoint === mount.mountPoint) continue;
    const isSameBucket =
      other.source.bucket === mount.source.bucket && other.endpointUrl === mount.endpointUrl;
    const [mine, theirs] = [mount.source.prefix, other.source.prefix];
    if (!isSameBucket || !(mine.startsWith(theirs) || theirs.startsWith(mine))) continue;
    throw new Failure(
      1,
      `${showSource(mount.source)} and ${showSource(other.source)} of ${other.name} contain each ` +
        `other, so that one user would see the other's files; add --overlap if that is meant`,
    );
  }
}
