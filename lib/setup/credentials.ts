/**
 * Where a mount that this machine makes at boot gets its S3 keys: not from the terminal that setup runs
 * in. That is said beforehand, and keys that are at hand here are offered a place there.
 */
import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { findAccount } from '../host/accounts.js';
import { defaultsFile, type Variables } from '../host/environment-file.js';
import { Failure, messageOf } from '../host/failure.js';
import { keptCredentialFile, ownCredentialPath } from '../host/kept-credentials.js';
import type { MountOptions } from '../options/mount-options.js';
import { environmentFile, fstab } from './existing-mounts.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  perform,
  readIfThere,
  removalStep,
  type RunMode,
} from './steps.js';
import type { UserMount } from './user-mount.js';

/** First line of files that setup wrote; only those are removed again. */
const mark = '# Kept by s3jail setup.';

/** What the places know of a mount, before it is tried. */
export interface CredentialPlaces {
  readonly mount: UserMount;
  readonly options: MountOptions;
  /** defaults and environment file */
  readonly variables: Variables;
  /** keys that setup is about to keep for it */
  readonly kept: string | undefined;
}

/**
 * In the order in which a mount looks (the SDK's default chain), in words for the operator; undefined where
 * only the role of the instance is left, if it has one.
 */
function credentialPlace(places: CredentialPlaces): string | undefined {
  const { mount, options, variables, kept } = places;
  const own = mount.init === 'systemd' ? environmentFile(mount.name) : fstab;
  const file = variables['AWS_SHARED_CREDENTIALS_FILE'] ?? keyFile(mount.name, kept);
  if (options.noSignRequest) return 'nowhere: its requests are not signed';
  if (options.sourceFile !== undefined) return `the source in ${options.sourceFile}`;
  const role = options.roleArn === undefined ? '' : `${options.roleArn}, assumed with `;
  if (mount.source.instanceRole === true) return `${role}the role of this instance`;
  if (options.profile !== undefined) {
    const from = file ?? join(rootHome(), '.aws/config');
    return `${role}profile ${options.profile} of ${from}`;
  }
  if (variables['AWS_ACCESS_KEY_ID'] !== undefined) {
    return `${role}AWS_ACCESS_KEY_ID in ${own} or ${defaultsFile}`;
  }
  if (file !== undefined) return role + file;
  if (variables['AWS_WEB_IDENTITY_TOKEN_FILE'] !== undefined) {
    return `${role}the web identity in ${variables['AWS_WEB_IDENTITY_TOKEN_FILE']}`;
  }
  const container = Object.keys(variables).find((name) => name.startsWith('AWS_CONTAINER_'));
  if (container !== undefined) return `${role}the service that ${container} names`;
  return undefined;
}

function keyFile(name: string, kept: string | undefined): string | undefined {
  if (kept !== undefined) return ownCredentialPath(name);
  const file = keptCredentialFile(name);
  if (file !== undefined) return file;
  const ofRoot = ['credentials', 'config'].map((each) => join(rootHome(), '.aws', each));
  return ofRoot.find((path) => existsSync(path));
}

/** That of the process at boot, which has no HOME. */
function rootHome(): string {
  return findAccount('0')?.home ?? '/root';
}

/** Where they will come from, said; and the cure where there are none and nothing is tried that would tell. */
export function tellKeys(places: CredentialPlaces, print: (line: string) => void): void {
  const place = credentialPlace(places);
  const { name, init } = places.mount;
  print(`S3 keys: from ${place ?? 'the role of this instance, as none are kept'}`);
  const isTried = init === 'fstab' || isSystemdRunning();
  if (place === undefined && !isTried) print(credentialCure(name, process.env));
}

/** What to do where the mount has found no keys that work, or none. */
export function credentialCure(name: string, environment: NodeJS.ProcessEnv): string {
  const path = ownCredentialPath(name);
  const here = keysAtHand(environment);
  return here === undefined
    ? `keys for this mount belong in ${path}, in the form of ~/.aws/credentials: --credentials FILE puts them there`
    : `${here.what} do not reach the mount; --credentials ${here.word} keeps them for it in ${path}`;
}

function keysAtHand(environment: NodeJS.ProcessEnv): { what: string; word: string } | undefined {
  if (environment['AWS_ACCESS_KEY_ID']) {
    return { what: 'the keys in this environment', word: 'environment' };
  }
  const caller = environment['SUDO_USER'];
  const homes = [homedir(), caller === undefined ? undefined : findAccount(caller)?.home];
  const file = [
    environment['AWS_SHARED_CREDENTIALS_FILE'],
    ...homes.map((home) => home && join(home, '.aws/credentials')),
  ].find((path) => path && path !== join(rootHome(), '.aws/credentials') && isFile(path));
  return file ? { what: `the keys in ${file}`, word: file } : undefined;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/**
 * The keys that `--credentials` names, in the form of ~/.aws/credentials.
 * @param from a file, or `environment`
 * @throws Failure with exit code 1, which shows nothing of the content
 */
export async function readCredentials(
  from: string,
  environment: NodeJS.ProcessEnv,
): Promise<string> {
  const text = from === 'environment' ? ofEnvironment(environment) : await ofFile(from);
  return `${mark} --remove takes it away.\n${text.replace(/\n*$/, '\n')}`;
}

function ofEnvironment(environment: NodeJS.ProcessEnv): string {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = environment;
  if (!id || !secret) {
    const cure = 'export them, with sudo --preserve-env where sudo is used';
    throw new Failure(
      1,
      `--credentials environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; ${cure}`,
    );
  }
  if (environment['AWS_SESSION_TOKEN']) {
    throw new Failure(
      1,
      '--credentials environment: with AWS_SESSION_TOKEN they end within hours, and the mount with them; ' +
        'use keys that last, a profile with a role, or --role-arn',
    );
  }
  return `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`;
}

async function ofFile(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new Failure(1, `--credentials: ${messageOf(error)}`, { cause: error });
  }
  if (/^\s*\[.+\]/m.test(text) && /^\s*\w+\s*=/m.test(text)) return text;
  throw new Failure(
    1,
    `--credentials: ${path} has not the form of ~/.aws/credentials: [default], and below it lines ` +
      'aws_access_key_id = … and aws_secret_access_key = …',
  );
}

/** @returns whether they are others than before */
export async function keepCredentials(
  name: string,
  content: string,
  runMode: RunMode,
): Promise<boolean> {
  const path = ownCredentialPath(name);
  await perform(directoryStep(dirname(path), 0o700), runMode);
  const what = `keep the S3 keys of ${name} in ${path}`;
  return perform(fileStep(what, { path, content, mode: 0o600 }), runMode);
}

/** Those that setup wrote; what an administrator put there stays. */
export async function removeCredentials(name: string, runMode: RunMode): Promise<void> {
  const path = ownCredentialPath(name);
  const text = await readIfThere(path);
  if (text?.startsWith(mark) === true) await perform(removalStep(path), runMode);
  else if (text !== undefined) runMode.print(`${path} stays: setup did not write it`);
}

/** Newer systemds have the directory themselves (tmpfiles.d(5)). */
export async function removeCredentialStore(runMode: RunMode): Promise<void> {
  if (existsSync('/usr/lib/tmpfiles.d/credstore.conf')) return;
  await perform(directoryRemovalStep(dirname(ownCredentialPath(''))), runMode);
}
