/**
 * A user's mount as a unit of systemd: the template, an instance for each user, and the environment
 * file that the instance reads.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { variableOf } from '../options/options.js';
import { environmentDirectory, environmentFile } from './neighbours.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  isSystemdRunning,
  mustRun,
  readIfThere,
  removalStep,
  succeeds,
  take,
  type Conduct,
  type Step,
} from './steps.js';
import { withVariables } from './tables.js';
import { sourceText, type Wanted } from './wanted.js';

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

export async function makeUnit(wanted: Wanted, conduct: Conduct): Promise<void> {
  await take(directoryStep(environmentDirectory, 0o700), conduct);
  const changes = [
    await take(await environmentStep(wanted), conduct),
    await take(
      fileStep(`write ${unitFile}`, { path: unitFile, content: await unitText(), mode: 0o644 }),
      conduct,
    ),
  ];
  const { name, isEnabled } = instanceOf(wanted.user);
  const enable = () => mustRun('systemctl', ['enable', name]);
  await take({ what: `enable ${name}`, isDone: isEnabled, run: enable }, conduct);
  if (!isSystemdRunning()) {
    conduct.print(`systemd is not running here: ${name} starts when it is`);
    return;
  }
  const isChanged = changes.includes(true);
  if (!conduct.dryRun && isChanged) await mustRun('systemctl', ['daemon-reload']);
  await take(startStep(name, isChanged), conduct);
}

export async function removeUnit(user: string, conduct: Conduct): Promise<void> {
  const { name, isEnabled } = instanceOf(user);
  const now = isSystemdRunning() ? ['--now'] : [];
  await take(
    {
      what: `stop and disable ${name}`,
      isDone: async () => !(await isEnabled()),
      run: () => mustRun('systemctl', ['disable', ...now, name]),
    },
    conduct,
  );
}

/** What all instances share. */
export async function removeTemplate(conduct: Conduct): Promise<void> {
  await take(removalStep(unitFile), conduct);
  await take(directoryRemovalStep(environmentDirectory), conduct);
  if (!conduct.dryRun && isSystemdRunning()) await mustRun('systemctl', ['daemon-reload']);
}

/** systemctl(1) can enable where systemd does not run, but not say whether it did. */
function instanceOf(user: string): { name: string; isEnabled: () => Promise<boolean> } {
  const name = `s3jail@${user}.service`;
  const link = `/etc/systemd/system/multi-user.target.wants/${name}`;
  return { name, isEnabled: () => Promise.resolve(existsSync(link)) };
}

async function environmentStep(wanted: Wanted): Promise<Step> {
  const { user, mountPoint, options } = wanted;
  const path = environmentFile(user);
  const content = withVariables((await readIfThere(path)) ?? environmentHead(user), {
    MOUNTPOINT: mountPoint,
    S3JAIL_SOURCE: sourceText(wanted),
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
