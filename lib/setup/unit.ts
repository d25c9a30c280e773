/**
 * A user's mount as a unit of systemd: the template, an instance for each user, and the environment
 * file that the instance reads.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { variableOf } from '../options/options.js';
import { environmentDirectory, environmentFile } from './existing-mounts.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  mustRun,
  readIfThere,
  removalStep,
  succeeds,
  perform,
  type RunMode,
  type Step,
} from './steps.js';
import { withVariables } from './config-files.js';
import { sourceText, type UserMount } from './user-mount.js';

const shipped = new URL('../../../lib/systemd/s3jail@.service', import.meta.url);
const program = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));
const unitFile = '/etc/systemd/system/s3jail@.service';

/**
 * The template as it is installed: the one of the package, with the program named by its path. Where
 * npm put it need not be in the service manager's PATH.
 */
export async function unitText(): Promise<string> {
  const call = `${process.execPath} ${program}`;
  const text = await readFile(shipped, 'utf8');
  return text.replace(/^(Exec\w+=-?)s3jail /gm, (_all, key: string) => `${key}${call} `);
}

export async function makeUnit(userMount: UserMount, runMode: RunMode): Promise<void> {
  await perform(directoryStep(environmentDirectory, 0o700), runMode);
  const changes = [
    await perform(await environmentStep(userMount), runMode),
    await perform(
      fileStep(`write ${unitFile}`, { path: unitFile, content: await unitText(), mode: 0o644 }),
      runMode,
    ),
  ];
  const { name, isEnabled } = instanceOf(userMount.user);
  const enable = () => mustRun('systemctl', ['enable', name]);
  await perform({ what: `enable ${name}`, isDone: isEnabled, run: enable }, runMode);
  if (!isSystemdRunning()) {
    runMode.print(`systemd is not running here: ${name} starts when it is`);
    return;
  }
  const isChanged = changes.includes(true);
  if (!runMode.dryRun && isChanged) await mustRun('systemctl', ['daemon-reload']);
  await perform(startStep(name, isChanged), runMode);
}

export async function removeUnit(user: string, runMode: RunMode): Promise<void> {
  const { name, isEnabled } = instanceOf(user);
  const now = isSystemdRunning() ? ['--now'] : [];
  await perform(
    {
      what: `stop and disable ${name}`,
      isDone: async () => !(await isEnabled()),
      run: () => mustRun('systemctl', ['disable', ...now, name]),
    },
    runMode,
  );
}

/** What all instances share. */
export async function removeTemplate(runMode: RunMode): Promise<void> {
  await perform(removalStep(unitFile), runMode);
  await perform(directoryRemovalStep(environmentDirectory), runMode);
  if (!runMode.dryRun && isSystemdRunning()) await mustRun('systemctl', ['daemon-reload']);
}

/** systemctl(1) can enable where systemd does not run, but not say whether it did. */
function instanceOf(user: string): { name: string; isEnabled: () => Promise<boolean> } {
  const name = `s3jail@${user}.service`;
  const link = `/etc/systemd/system/multi-user.target.wants/${name}`;
  return { name, isEnabled: () => Promise.resolve(existsSync(link)) };
}

async function environmentStep(userMount: UserMount): Promise<Step> {
  const { user, mountPoint, options } = userMount;
  const path = environmentFile(user);
  const content = withVariables((await readIfThere(path)) ?? environmentHead(user), {
    MOUNTPOINT: mountPoint,
    S3JAIL_SOURCE: sourceText(userMount),
    S3JAIL_UID: user,
    ...Object.fromEntries(options.map(asVariable)),
  });
  return fileStep(`write ${path}`, { path, content, mode: 0o600 });
}

function environmentHead(user: string): string {
  return (
    `# The mount of ${user}: s3jail@${user}.service reads this. Each option of s3jail mount can stand\n` +
    `# here as S3JAIL_NAME=value, and AWS's own variables, such as AWS_PROFILE. Keys are better kept\n` +
    `# in /etc/credstore/s3jail.${user}, in the form of ~/.aws/credentials.\n`
  );
}

function asVariable(option: string): [name: string, value: string] {
  const equals = option.indexOf('=');
  const name = (equals < 0 ? option : option.slice(0, equals)).replaceAll('_', '-');
  return [variableOf(name), equals < 0 ? 'yes' : option.slice(equals + 1)];
}

function startStep(instance: string, isChanged: boolean): Step {
  return {
    what: `start ${instance}`,
    isDone: async () =>
      !isChanged && (await succeeds('systemctl', ['is-active', '--quiet', instance])),
    run: () => mustRun('systemctl', ['restart', instance]),
  };
}
