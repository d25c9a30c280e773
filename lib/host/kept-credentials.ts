/**
 * Keys that this machine keeps for its mounts, each file in the form of ~/.aws/credentials: one of a
 * mount's own, and one that all share. systemd hands them to a unit as credentials (systemd.exec(5),
 * LoadCredential=); a mount of fstab finds them where systemd would have.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readDefaults } from './environment-file.js';

/** Where systemd looks for them. */
const stores = [
  '/etc/credstore',
  '/run/credstore',
  '/usr/local/lib/credstore',
  '/usr/lib/credstore',
];
/** What the unit calls them: its own, then the shared one. */
const unitNames = ['aws-credentials', 'aws-shared-credentials'];

/** The name that the mount of all homes has among those of single users. */
export const homesName = 'homes';

/** Where an operator puts them. */
export function ownCredentialPath(name: string): string {
  return join('/etc/credstore', `s3jail.${name}`);
}

/** The file of a mount's own keys, else that of the shared ones, else none. */
export function keptCredentialFile(name: string): string | undefined {
  return [`s3jail.${name}`, 's3jail']
    .flatMap((file) => stores.map((store) => join(store, file)))
    .find((path) => existsSync(path));
}

/** The same for a process that systemd started with them. */
export function unitCredentialFile(directory: string): string | undefined {
  return unitNames.map((name) => join(directory, name)).find((path) => existsSync(path));
}

/** Names those of the unit to the AWS SDK, unless the environment names others. */
export function useUnitCredentials(environment: NodeJS.ProcessEnv): void {
  const directory = environment['CREDENTIALS_DIRECTORY'];
  if (!directory || environment['AWS_SHARED_CREDENTIALS_FILE']) return;
  const file = unitCredentialFile(directory);
  if (file !== undefined) environment['AWS_SHARED_CREDENTIALS_FILE'] = file;
}

/**
 * What systemd gives a unit, for a mount of fstab: the defaults of this machine's mounts, and the keys that
 * are kept for it. What the environment says already stays.
 */
export async function useMachineSettings(
  environment: NodeJS.ProcessEnv,
  mount: { options: readonly string[]; mountPoint: string },
): Promise<void> {
  for (const [name, value] of Object.entries(await readDefaults())) environment[name] ??= value;
  if (environment['AWS_SHARED_CREDENTIALS_FILE']) return;
  const file = keptCredentialFile(nameOfMount(mount));
  if (file !== undefined) environment['AWS_SHARED_CREDENTIALS_FILE'] = file;
}

/**
 * By which a mount of fstab finds its own: that of all homes, the user of `uid=`, else the last part of its
 * place.
 */
function nameOfMount({
  options,
  mountPoint,
}: {
  options: readonly string[];
  mountPoint: string;
}): string {
  if (options.includes('homes')) return homesName;
  const uid = options.findLast((option) => option.startsWith('uid='))?.slice('uid='.length);
  return uid === undefined || /^\d*$/.test(uid) ? basename(mountPoint) : uid;
}
