/**
 * A mount that this machine makes at boot, be it one user's or that of all homes: what it will have at
 * boot is tried where it is another than before, or where nothing shows that it works; then it is made.
 */
import { keptCredentialFile } from '../host/kept-credentials.js';
import { Failure } from '../host/failure.js';
import { findMount } from '../host/mount-table.js';
import { credentialCure, keepCredentials } from './credentials.js';
import { lineOf, makeFstab } from './fstab.js';
import { variablesOf } from './mount-words.js';
import { isSystemdRunning, readIfThere, type RunMode } from './steps.js';
import { tryBeforehand, tryLine, tryUnit } from './trial.js';
import {
  environmentOf,
  hasOtherKeys,
  instanceOf,
  isActive,
  makeUnit,
  templateText,
} from './unit.js';
import type { UserMount } from './user-mount.js';

export interface MountPlan {
  readonly mount: UserMount;
  /** words of `-o` that are the mount's whatever is asked */
  readonly own: readonly string[];
  readonly isNew: boolean;
  readonly onDemand: boolean;
  readonly idleTime: string | undefined;
  /** content for the file of S3 keys */
  readonly credentials: string | undefined;
  /** the directories, and what else is needed before it is mounted */
  readonly makePlaces: () => Promise<void>;
}

export async function makeMount(plan: MountPlan, runMode: RunMode): Promise<void> {
  await (plan.mount.init === 'systemd' ? makeUnitMount(plan, runMode) : makeLine(plan, runMode));
}

async function makeUnitMount(plan: MountPlan, runMode: RunMode): Promise<void> {
  const { mount, own, onDemand, idleTime, credentials } = plan;
  const { name } = mount;
  const unit = { mount, own: variablesOf(own), onDemand, idleTime };
  const environment = await environmentOf(unit);
  const isRunning = isSystemdRunning();
  const wasActive = isRunning && (await isActive(instanceOf(name)));
  const areKeysOther =
    credentials === undefined
      ? wasActive && (await hasOtherKeys(name, keptCredentialFile(name)))
      : await isOtherThanKept(name, credentials);
  const isChanged = environment.isChanged || areKeysOther;
  // One that is made on demand is stopped because nobody looks.
  const isIdle = onDemand && !plan.isNew;
  // One that nobody has yet is tried by its start, which is undone as all is: it is started once.
  const isItsOwnTrial = plan.isNew && !wasActive && !onDemand;
  if (isRunning && !isItsOwnTrial && (isChanged || !(wasActive || isIdle))) {
    const template = await templateText();
    const trial = { name, template, environment: environment.text, credentials };
    await tryMount(plan, runMode, () => tryUnit(trial, runMode.stop));
  }
  await makeBeside(plan, runMode);
  await withReason(plan, () => makeUnit(unit, environment.text, isChanged, runMode));
}

async function makeLine(plan: MountPlan, runMode: RunMode): Promise<void> {
  const { mount, own, credentials } = plan;
  const { name, mountPoint } = mount;
  const planned = await lineOf(mount, own);
  const areKeysOther = credentials !== undefined && (await isOtherThanKept(name, credentials));
  const isChanged = planned.isChanged || areKeysOther;
  if (isChanged || findMount(mountPoint) === undefined) {
    const { words, line } = planned;
    const trial = { name, source: line.source, options: words, credentials };
    await tryMount(plan, runMode, () => tryLine(trial, runMode.stop));
  }
  await makeBeside(plan, runMode);
  await makeFstab(planned, isChanged, runMode);
}

async function isOtherThanKept(name: string, credentials: string): Promise<boolean> {
  return credentials !== (await readIfThere(keptCredentialFile(name) ?? ''));
}

async function makeBeside(plan: MountPlan, runMode: RunMode): Promise<void> {
  const { mount, credentials } = plan;
  await plan.makePlaces();
  if (credentials !== undefined) await keepCredentials(mount.name, credentials, runMode);
}

async function tryMount(
  plan: MountPlan,
  runMode: RunMode,
  attempt: () => Promise<void>,
): Promise<void> {
  await withReason(plan, () => tryBeforehand(runMode, attempt));
}

/** @throws Failure with what the mount said, and where its keys belong */
async function withReason(
  { mount, credentials }: MountPlan,
  attempt: () => Promise<void>,
): Promise<void> {
  try {
    await attempt();
  } catch (error) {
    if (!(error instanceof Failure) || error.exitCode !== 32) throw error;
    const isOfKeys = credentials === undefined && /\b(credentials|keys?)\b/.test(error.message);
    const cure = isOfKeys ? `; ${credentialCure(mount.name, process.env)}` : '';
    throw new Failure(32, `the mount cannot be made: ${error.message}${cure}`, { cause: error });
  }
}
