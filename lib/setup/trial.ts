/**
 * The mount, tried at a place of its own with what it will have at boot, before anything depends on it
 * and while the one that is in use goes on. What it logs when it fails is what the operator hears.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bareEnvironment } from '../host/bare-environment.js';
import { Failure, messageOf } from '../host/failure.js';
import { withVariables } from './config-files.js';
import { variableOf } from '../options/options.js';
import { isSameOption } from './mount-words.js';
import { startUnit } from './start-unit.js';
import { refuseIfStopped, succeeds, unlessAbsent, type RunMode } from './steps.js';

const helper = fileURLToPath(new URL('../../bin/mount.s3jail.cjs', import.meta.url));
const units = '/run/systemd/system';
const unitMode = 0o644;
/** What the mount that is in use has open, or what would not reach the terminal, or fill it. */
const outputs = ['metrics', 'log-file', 'audit-log', 'on-store', 'log-level', 'log-format'];
const silenced = Object.fromEntries(outputs.map((name) => [variableOf(name), '']));

/** Says that the mount is tried, and tries it, but for a dry run. @throws what `attempt` rejects with */
export async function tryBeforehand(
  { dryRun, print }: RunMode,
  attempt: () => Promise<void>,
): Promise<void> {
  const what = 'try the mount with what it will have at boot';
  print(dryRun ? `would ${what}` : what);
  if (!dryRun) await attempt();
}

/** Directory of one trial, closed to all but root, with `mount` in it. */
async function withPlace(work: (place: string) => Promise<void>): Promise<void> {
  const place = await mkdtemp('/run/s3jail-trial-');
  await mkdir(join(place, 'mount'));
  try {
    await work(place);
  } finally {
    // Nothing is removed below a mount that could not be taken away.
    await rmdir(join(place, 'mount'));
    await rm(place, { recursive: true });
  }
}

/** A mount as its unit will make it. */
export interface UnitTrial {
  /** of the instance */
  readonly name: string;
  /** text of the template */
  readonly template: string;
  /** text of the environment file as it will be */
  readonly environment: string;
  /** keys that are about to be kept for it */
  readonly credentials: string | undefined;
}

/** @throws Failure with what the mount said */
export async function tryUnit(trial: UnitTrial, stop: AbortSignal): Promise<void> {
  await withPlace(async (place) => {
    const unit = `${basename(place)}.service`;
    try {
      await writeUnit(unit, place, trial);
      await startUnit('start', unit, stop);
    } finally {
      if (!(await succeeds('systemctl', ['stop', unit])))
        await succeeds('systemctl', ['kill', unit]);
      await rm(join(units, unit), { force: true });
      await rm(join(units, `${unit}.d`), { recursive: true, force: true });
      await succeeds('systemctl', ['reset-failed', unit]);
    }
  });
}

/** The unit with the drop-ins of its administrator, but at another place, once, and for nobody to wait for. */
async function writeUnit(unit: string, place: string, trial: UnitTrial): Promise<void> {
  const { name, template, environment, credentials } = trial;
  const own = (text: string) => text.replaceAll('%i', () => name);
  const candidate = join(place, 'environment');
  const overrides = join(place, 'overrides');
  const keys = join(place, 'credentials');
  const mountPoint = join(place, 'mount');
  const dropIns = join(units, `${unit}.d`);
  await write(candidate, environment);
  await write(overrides, withVariables('', { MOUNTPOINT: mountPoint, ...silenced }));
  if (credentials !== undefined) await write(keys, credentials);
  const text = template
    .replace(/^\[Install\][^]*/m, '')
    .replace(/^(Before|OnFailure|Restart)=.*\n/gm, '')
    .replace('EnvironmentFile=/etc/s3jail/%i.env', `EnvironmentFile=${candidate}`);
  await mkdir(dropIns, { recursive: true });
  for (const instance of ['', name]) {
    const directory = `/etc/systemd/system/s3jail@${instance}.service.d`;
    for (const file of (await unlessAbsent(readdir(directory))) ?? []) {
      if (!file.endsWith('.conf') || file === 'on-demand.conf') continue;
      await write(
        join(dropIns, file),
        own(await readFile(join(directory, file), 'utf8')),
        unitMode,
      );
    }
  }
  const last = ['[Service]', `EnvironmentFile=${overrides}`, 'Restart=no', 'WatchdogSec=0'];
  if (credentials !== undefined) last.push(`LoadCredential=aws-credentials:${keys}`);
  await write(join(dropIns, 'zz-s3jail-trial.conf'), `${last.join('\n')}\n`, unitMode);
  await write(join(units, unit), own(text), unitMode);
}

async function write(path: string, content: string, mode = 0o600): Promise<void> {
  await writeFile(path, content, { mode });
}

/** A mount as mount(8) will make it of a line of fstab. */
export interface LineTrial {
  readonly source: string;
  /** words of its options */
  readonly options: readonly string[];
  /** as UnitTrial has it */
  readonly credentials: string | undefined;
  /** of the kept keys, as the helper finds them */
  readonly name: string;
}

/** @throws Failure with what the mount said */
export async function tryLine(trial: LineTrial, stop: AbortSignal): Promise<void> {
  await withPlace(async (place) => {
    const mountPoint = join(place, 'mount');
    const keys = join(place, 'credentials');
    if (trial.credentials !== undefined) await write(keys, trial.credentials);
    const options = trial.options.filter(
      (word) => !outputs.some((name) => isSameOption(word, name)),
    );
    const list = [...options, `log-file=${join(place, 'log')}`];
    const lists = list.flatMap((word) => ['-o', `"${word.replace(/["\\]/g, '\\$&')}"`]);
    const own = trial.credentials === undefined ? {} : { AWS_SHARED_CREDENTIALS_FILE: keys };
    const env = { ...bareEnvironment, ...silenced, ...own };
    const args = [helper, trial.source, mountPoint, ...lists];
    try {
      await promisify(execFile)(process.execPath, args, { env, signal: stop });
    } catch (error) {
      refuseIfStopped(stop);
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
      const reason = said === '' ? messageOf(error) : said.replace(/^s3jail: /gm, '');
      throw new Failure(32, reason.replace(/\n/g, '; '), { cause: error });
    }
    const { runUnmount } = await import('../mount/unmount.js');
    await runUnmount(mountPoint, () => undefined);
  });
}
