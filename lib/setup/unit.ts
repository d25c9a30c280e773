/**
 * A user's mount as a unit of systemd: the templates, an instance for each user, and the environment
 * file that the instance reads.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unitCredentialFile } from '../host/kept-credentials.js';
import { withVariables } from './config-files.js';
import { environmentDirectory, environmentFile, onDemandVariable } from './existing-mounts.js';
import { variablesOf } from './mount-words.js';
import {
  dropInPath,
  dropInText,
  isOnDemand,
  placeBeside,
  removeOnDemand,
  units,
  writeOnDemand,
} from './on-demand.js';
import { startUnit } from './start-unit.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  mustRun,
  perform,
  readIfThere,
  removalStep,
  succeeds,
  type RunMode,
} from './steps.js';
import { sourceText, type UserMount } from './user-mount.js';

/** What a package of the distribution installs; setup has nothing to add to it. */
const packaged = '/usr/lib/systemd/system';
const shipped = fileURLToPath(new URL('../../../lib/systemd/', import.meta.url));
const program = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));

const template = 's3jail@.service';
/** The metrics of all mounts, for the operator to enable. */
const metricsUnit = 's3jail-metrics.service';
const shared = [template, 's3jail-retry@.service', metricsUnit] as const;

/**
 * A unit as it is installed: the one of the package, with the program named by its path. Where
 * npm put it need not be in the service manager's PATH.
 */
export async function unitText(unit: (typeof shared)[number] = template): Promise<string> {
  const call = `${process.execPath} ${program}`;
  const text = await readFile(join(shipped, unit), 'utf8');
  return text.replace(/^(Exec\w+=-?)s3jail /gm, (_all, key: string) => `${key}${call} `);
}

/** The template that the unit will be made of. */
export async function templateText(): Promise<string> {
  return (await readIfThere(join(packaged, template))) ?? (await unitText());
}

/** What is asked of a unit. */
export interface UnitRequest {
  readonly mount: UserMount;
  /** variables that are the mount's whatever is asked */
  readonly own: Readonly<Record<string, string | undefined>>;
  readonly onDemand: boolean;
  readonly idleTime: string | undefined;
}

/** The environment file as it will be, and whether that is another. */
export async function environmentOf(
  request: UnitRequest,
): Promise<{ text: string; isChanged: boolean }> {
  const { mount, own, onDemand } = request;
  const { name, mountPoint, options } = mount;
  const before = await readIfThere(environmentFile(name));
  const text = before ?? environmentHead(name);
  const content = withVariables(text, {
    MOUNTPOINT: onDemand ? placeBeside(mountPoint) : mountPoint,
    [onDemandVariable]: onDemand ? mountPoint : undefined,
    S3JAIL_SOURCE: sourceText(mount, /^S3JAIL_SOURCE=(.*)$/m.exec(text)?.[1]),
    ...own,
    ...variablesOf(options),
  });
  return { text: content, isChanged: content !== before };
}

function environmentHead(name: string): string {
  return (
    `# The mount of ${name}: s3jail@${name}.service reads this, after /etc/s3jail/defaults. Each option of\n` +
    `# s3jail mount can stand here as S3JAIL_NAME=value, and AWS's own variables, such as AWS_PROFILE. Keys\n` +
    `# are better kept in /etc/credstore/s3jail.${name}, in the form of ~/.aws/credentials.\n`
  );
}

export function isActive(unit: string): Promise<boolean> {
  return succeeds('systemctl', ['is-active', '--quiet', unit]);
}

export function instanceOf(name: string): string {
  return `s3jail@${name}.service`;
}

/** Whether the running unit has other keys than those that are kept for it now. */
export async function hasOtherKeys(name: string, kept: string | undefined): Promise<boolean> {
  const loaded = unitCredentialFile(`/run/credentials/${instanceOf(name)}`);
  const before = loaded && (await readIfThere(loaded));
  return before !== (kept && (await readIfThere(kept)));
}

/**
 * Files, start, and last the link that has it start at boot: what does not start is not enabled.
 * @param isChanged whether a mount that is there has to be made anew
 */
export async function makeUnit(
  request: UnitRequest,
  environment: string,
  isChanged: boolean,
  runMode: RunMode,
): Promise<void> {
  const { mount, onDemand } = request;
  const { name } = mount;
  const unit = instanceOf(name);
  const isRunning = isSystemdRunning();
  const wasActive = isRunning && (await isActive(unit));
  if (wasActive && isChanged && !onDemand) startAgainOnUndo(unit, runMode);
  await perform(directoryStep(environmentDirectory, 0o700), runMode);
  const path = environmentFile(name);
  await perform(fileStep(`write ${path}`, { path, content: environment, mode: 0o600 }), runMode);
  const written = [await writeShared(runMode), await writeDropIn(request, runMode)];
  const automount = onDemand ? await writeOnDemand({ ...mount, ...request }, runMode) : undefined;
  if (automount?.isChanged === true) written.push(true);
  const wanted = automount?.automount ?? unit;
  if (!isRunning) {
    runMode.print(`systemd is not running here: ${wanted} is not tried, and starts when it is`);
  } else if (!runMode.dryRun && written.includes(true)) {
    await mustRun('systemctl', ['daemon-reload']);
  }
  if (isRunning && onDemand && wasActive && isChanged) {
    const run = () => mustRun('systemctl', ['stop', unit]);
    const isDone = async () => !(await isActive(unit));
    await perform({ what: `stop ${unit}, which starts anew on demand`, isDone, run }, runMode);
  }
  if (isRunning) await start(wanted, isChanged && !onDemand, runMode);
  await enable(wanted, runMode);
}

/** Taken back last, when its files are again what they were. */
function startAgainOnUndo(unit: string, runMode: RunMode): void {
  const undo = () => mustRun('systemctl', ['restart', unit]);
  runMode.done.push({ what: `${unit} goes on as before`, undo });
}

async function start(unit: string, isChanged: boolean, runMode: RunMode): Promise<void> {
  const isStarted = await isActive(unit);
  const verb = isStarted ? 'restart' : 'start';
  const note = isStarted ? ', which stores what is open first' : '';
  await perform(
    {
      what: `${verb} ${unit}${note}`,
      isDone: () => Promise.resolve(isStarted && !isChanged),
      run: () => startUnit(verb, unit, runMode.stop),
      undo: () => stopForGood(unit),
    },
    runMode,
  );
}

/** What failed would be tried again, and listed as failed. */
async function stopForGood(unit: string): Promise<void> {
  await mustRun('systemctl', ['stop', unit]);
  await succeeds('systemctl', ['stop', unit.replace(/^s3jail@/, 's3jail-retry@')]);
  await succeeds('systemctl', ['reset-failed', unit]);
}

/** systemctl(1) can enable where systemd does not run, but not say whether it did. */
function isEnabled(unit: string): Promise<boolean> {
  return Promise.resolve(existsSync(join(units, 'multi-user.target.wants', unit)));
}

async function enable(unit: string, runMode: RunMode): Promise<void> {
  await perform(
    {
      what: `enable ${unit}`,
      isDone: () => isEnabled(unit),
      run: () => mustRun('systemctl', ['enable', unit]),
      undo: () => mustRun('systemctl', ['disable', unit]),
    },
    runMode,
  );
}

/** @returns whether systemd has to read them again; mounts that run go on with what they have */
async function writeShared(runMode: RunMode): Promise<boolean> {
  let isChanged = false;
  for (const unit of shared) {
    if (existsSync(join(packaged, unit))) continue;
    const path = join(units, unit);
    const content = await unitText(unit);
    const step = fileStep(`write ${path}`, { path, content, mode: 0o644 });
    if (await perform(step, runMode)) isChanged = true;
  }
  return isChanged;
}

/** Only a mount on demand has one of setup's; those of the administrator lie beside it. */
async function writeDropIn(request: UnitRequest, runMode: RunMode): Promise<boolean> {
  const { onDemand, mount } = request;
  const { name, mountPoint } = mount;
  const path = dropInPath(name);
  if (onDemand) {
    const unit = instanceOf(name);
    if (await isEnabled(unit)) await disable(unit, runMode);
    await perform(directoryStep(dirname(path), 0o755), runMode);
    await perform(directoryStep(placeBeside(mountPoint), 0o755), runMode);
    const content = { path, content: dropInText, mode: 0o644 };
    return perform(fileStep(`write ${path}`, content), runMode);
  }
  if (!isOnDemand(name)) return false;
  await removeOnDemand(mountPoint, runMode);
  await removeDropIn(name, mountPoint, runMode);
  return true;
}

async function removeDropIn(name: string, mountPoint: string, runMode: RunMode): Promise<void> {
  const path = dropInPath(name);
  await perform(removalStep(path), runMode);
  await perform(directoryRemovalStep(dirname(path)), runMode);
  await perform(directoryRemovalStep(placeBeside(mountPoint)), runMode);
}

async function disable(unit: string, runMode: RunMode): Promise<void> {
  const now = isSystemdRunning() ? ['--now'] : [];
  await perform(
    {
      what: `stop and disable ${unit}`,
      isDone: async () => !(await isEnabled(unit)),
      run: () => mustRun('systemctl', ['disable', ...now, unit]),
      undo: () => mustRun('systemctl', ['enable', ...now, unit]),
    },
    runMode,
  );
}

export async function removeUnit(
  name: string,
  mountPoint: string,
  runMode: RunMode,
): Promise<void> {
  const unit = instanceOf(name);
  const wasOnDemand = isOnDemand(name);
  if (wasOnDemand) await removeOnDemand(mountPoint, runMode);
  await disable(unit, runMode);
  if (isSystemdRunning() && !runMode.dryRun) {
    // One that was started by hand, or is being tried again; and what is said of a failed one.
    await mustRun('systemctl', ['stop', unit]);
    await succeeds('systemctl', ['reset-failed', unit]);
  }
  if (!wasOnDemand) return;
  await removeDropIn(name, mountPoint, runMode);
  if (isSystemdRunning() && !runMode.dryRun) await mustRun('systemctl', ['daemon-reload']);
}

/** What all instances share. */
export async function removeSharedUnits(runMode: RunMode): Promise<void> {
  if (existsSync(join(units, metricsUnit))) {
    await disable(metricsUnit, runMode);
    // One that was started and not enabled.
    if (isSystemdRunning() && !runMode.dryRun) await mustRun('systemctl', ['stop', metricsUnit]);
  }
  for (const unit of shared) await perform(removalStep(join(units, unit)), runMode);
  await perform(directoryRemovalStep(environmentDirectory), runMode);
  if (!runMode.dryRun && isSystemdRunning()) await mustRun('systemctl', ['daemon-reload']);
}
