/**
 * `s3jail setup`: all that an SFTP user on this machine needs, and its removal. User, mount point,
 * mount at boot (a unit of systemd, or a line of fstab), the helper for mount(8), and sshd's block.
 *
 * Doing it again changes only what differs. What it finds and did not make (a user, lines of the
 * administrator in its files) stays. Nothing in S3 is touched.
 */
import { existsSync } from 'node:fs';
import { readFile, readlink, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChrootFaults } from './chroot-path.js';
import { systemErrorCode } from './errors.js';
import { Failure, type ExitCode } from './failure.js';
import { isDead } from './mount-point.js';
import { planMount } from './mount-request.js';
import { findMount } from './mount-table.js';
import { splitOptionList, UsageError, variableOf } from './options.js';
import { checkUserName, isUserOurs, userRemovalStep, userStep } from './setup/account.js';
import {
  endpointIn,
  environmentDirectory,
  environmentFile,
  findNeighbours,
  fstab,
  refuseOverlap,
} from './setup/neighbours.js';
import { blockPath, blockStep, keysDirectory, reloadSshd, requireSshd } from './setup/sshd.js';
import {
  directoryRemovalStep,
  directoryStep,
  fileStep,
  mustRun,
  readIfThere,
  removalStep,
  replaceFile,
  succeeds,
  take,
  type Conduct,
  type Step,
} from './setup/steps.js';
import { readVariable, withFstabLine, withoutFstabLine, withVariables } from './setup/tables.js';
import { unitText } from './setup/unit.js';
import { showSource } from './source.js';

export interface SetupRequest {
  readonly user: string;
  /** undefined to remove */
  readonly source: string | undefined;
  readonly mountPoint: string | undefined;
  /** what mounts at boot; by default systemd where that is running */
  readonly init: 'systemd' | 'fstab' | undefined;
  /** file of public keys to copy */
  readonly authorizedKeys: string | undefined;
  /** `-o` lists for the mount */
  readonly lists: readonly string[];
  /** take a prefix that contains another user's, or is contained */
  readonly overlap: boolean;
  readonly dryRun: boolean;
}

/** sd_booted(3) */
const isSystemdRunning = (): boolean => existsSync('/run/systemd/system');

const unitFile = '/etc/systemd/system/s3jail@.service';
/** Where mount(8) looks for the helpers of its types. */
const helperLinks = ['/sbin/mount.s3jail', '/sbin/mount.fuse.s3jail'];
const helperProgram = fileURLToPath(new URL('../bin/mount.s3jail.cjs', import.meta.url));

/** What is to be, checked. */
interface Wanted {
  readonly user: string;
  readonly source: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly init: 'systemd' | 'fstab';
}

/**
 * @param print takes lines for the operator
 * @throws UsageError, Failure
 */
export async function runSetup(
  request: SetupRequest,
  print: (line: string) => void,
): Promise<ExitCode> {
  const conduct = { dryRun: request.dryRun, print };
  if (process.geteuid?.() !== 0) throw new Failure(2, 'setup needs root: run it with sudo');
  checkUserName(request.user);
  if (request.source === undefined) return remove(request, conduct);
  requireSshd();
  const wanted = checkWanted(request);
  if (!request.overlap) {
    const { source } = planMount(mountRequest(wanted), { environment: {}, ambient: root });
    const endpointUrl = endpointIn(wanted.options.join(','));
    const { mountPoint } = wanted;
    refuseOverlap({ source, mountPoint, endpointUrl }, await findNeighbours());
  }
  return make(wanted, request, conduct);
}

const root = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };

function mountRequest({ source, mountPoint, options }: Wanted) {
  return { operands: [source, mountPoint], commandLine: [], lists: options, sloppy: false };
}

/** All that can be wrong with the mount is found before anything is made. */
function checkWanted(request: SetupRequest): Wanted {
  const { user, source = '', lists } = request;
  const options = lists.flatMap((list) => splitOptionList(list) ?? [list]);
  const fixed = options.find((option) => /^(uid|private|chroot|no-chroot)\b/.test(option));
  if (fixed !== undefined) {
    throw new UsageError([`-o ${fixed}: setup makes a chroot for ${user}; leave it out`]);
  }
  const wanted = {
    user,
    source,
    mountPoint: resolve(request.mountPoint ?? join('/srv/sftp', user)),
    options,
    init: request.init ?? (isSystemdRunning() ? 'systemd' : 'fstab'),
  } as const;
  if (!/^\/[\w@%+=:,./-]+$/.test(wanted.mountPoint)) {
    throw new UsageError(['--mount-point: sshd takes letters, digits and @%+=:,./- here']);
  }
  const { source: parsed } = planMount(mountRequest(wanted), { environment: {}, ambient: root });
  return { ...wanted, source: showSource(parsed) };
}

async function make(wanted: Wanted, request: SetupRequest, conduct: Conduct): Promise<ExitCode> {
  const { user, mountPoint } = wanted;
  const hasOwnKeys = (await isUserOurs(user)) || request.authorizedKeys !== undefined;
  await take(userStep(user), conduct);
  if (findMount(mountPoint) === undefined) await take(directoryStep(mountPoint, 0o755), conduct);
  for (const step of helperSteps()) await take(step, conduct);
  await (wanted.init === 'systemd' ? makeUnit(wanted, conduct) : makeFstab(wanted, conduct));
  if (hasOwnKeys) await makeKeys(user, request.authorizedKeys, conduct);
  await tellSshd({ name: user, mountPoint, hasOwnKeys }, conduct);
  if (conduct.dryRun) return 0;
  const faults = await findChrootFaults(mountPoint);
  for (const { component, reason, cure } of faults) {
    conduct.print(`sshd will refuse ${user}: ${component} ${reason}; ${cure}`);
  }
  return faults.length === 0 ? 0 : 2;
}

/** One for each of the two names that a mount has: that of fstab, and that of the kernel's table. */
function helperSteps(): Step[] {
  return helperLinks.map((path) => ({
    what: `make ${path}, which mount(8) calls`,
    isDone: () => Promise.resolve(existsSync(path)),
    run: async () => {
      // A link that leads nowhere: an installation that is gone.
      await rm(path, { force: true });
      await symlink(helperProgram, path);
    },
  }));
}

async function makeUnit(wanted: Wanted, conduct: Conduct): Promise<void> {
  const { user, mountPoint, source } = wanted;
  const instance = `s3jail@${user}.service`;
  await take(directoryStep(environmentDirectory, 0o700), conduct);
  const path = environmentFile(user);
  const content = withVariables((await readIfThere(path)) ?? environmentHead(user), {
    MOUNTPOINT: mountPoint,
    S3JAIL_SOURCE: source,
    S3JAIL_UID: user,
    ...Object.fromEntries(wanted.options.map(asVariable)),
  });
  const changes = [
    await take(fileStep(`write ${path}`, { path, content, mode: 0o600 }), conduct),
    await take(await unitStep(), conduct),
  ];
  await take(enableStep(instance), conduct);
  if (!isSystemdRunning()) {
    conduct.print(`systemd is not running here: ${instance} starts when it is`);
    return;
  }
  const isChanged = changes.includes(true);
  if (!conduct.dryRun && isChanged) await mustRun('systemctl', ['daemon-reload']);
  await take(startStep(instance, isChanged), conduct);
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

async function unitStep(): Promise<Step> {
  const content = await unitText();
  return fileStep(`write ${unitFile}`, { path: unitFile, content, mode: 0o644 });
}

function enableStep(instance: string): Step {
  const link = `/etc/systemd/system/multi-user.target.wants/${instance}`;
  return {
    what: `enable ${instance}`,
    isDone: () => Promise.resolve(existsSync(link)),
    run: () => mustRun('systemctl', ['enable', instance]),
  };
}

function startStep(instance: string, isChanged: boolean): Step {
  return {
    what: `start ${instance}`,
    isDone: async () =>
      !isChanged && (await succeeds('systemctl', ['is-active', '--quiet', instance])),
    run: () => mustRun('systemctl', ['restart', instance]),
  };
}

async function makeFstab(wanted: Wanted, conduct: Conduct): Promise<void> {
  const { user, source, mountPoint } = wanted;
  const options = ['_netdev', 'nofail', `uid=${user}`, ...wanted.options].map(quotedItem);
  const before = (await readIfThere(fstab)) ?? '';
  const content = withFstabLine(before, { source, mountPoint, options: options.join(',') });
  const file = { path: fstab, content, mode: 0o644 };
  const isChanged = await take(
    {
      what: `write a line for ${mountPoint} into ${fstab}`,
      isDone: () => Promise.resolve(content === before),
      run: () => replaceFile(file),
    },
    conduct,
  );
  await take(
    {
      what: `mount ${mountPoint}`,
      isDone: async () =>
        !isChanged && findMount(mountPoint) !== undefined && !(await isDead(mountPoint)),
      run: async () => {
        if (findMount(mountPoint) !== undefined) await mustRun('umount', [mountPoint]);
        await mustRun('mount', [mountPoint]);
      },
    },
    conduct,
  );
}

/** A comma inside a value stands in quotes (mount(8)). */
function quotedItem(option: string): string {
  const [name = '', ...rest] = option.split('=');
  return option.includes(',') ? `${name}="${rest.join('=')}"` : option;
}

async function makeKeys(user: string, from: string | undefined, conduct: Conduct): Promise<void> {
  await take(directoryStep(keysDirectory, 0o755), conduct);
  const path = join(keysDirectory, user);
  const before = await readIfThere(path);
  const content = from === undefined ? (before ?? '') : await readFile(from, 'utf8');
  await take(fileStep(`write the public keys ${path}`, { path, content, mode: 0o644 }), conduct);
  if (content === '') conduct.print(`${user} cannot log in yet: add public keys to ${path}`);
}

async function tellSshd(
  user: { name: string; mountPoint: string; hasOwnKeys: boolean },
  conduct: Conduct,
): Promise<void> {
  const isChanged = await take(blockStep(user), conduct);
  if (!isChanged || conduct.dryRun) return;
  if (await reloadSshd(isSystemdRunning())) conduct.print('told sshd to read its configuration');
  else conduct.print('sshd reads this when it starts: reload it if it is running');
}

/** Takes away what `make` made for this user, and with the last one what all of them shared. */
async function remove(request: SetupRequest, conduct: Conduct): Promise<ExitCode> {
  const { user } = request;
  const text = await readIfThere(environmentFile(user));
  const isUnit = text !== undefined;
  const known = isUnit ? readVariable(text, 'MOUNTPOINT') : undefined;
  const mountPoint = resolve(request.mountPoint ?? known ?? join('/srv/sftp', user));
  await take(removalStep(blockPath(user)), conduct);
  if (!conduct.dryRun) await reloadSshd(isSystemdRunning());
  if (isUnit) await removeUnit(user, conduct);
  await take(unmountStep(mountPoint), conduct);
  await take(fstabRemovalStep(mountPoint), conduct);
  await take(removalStep(environmentFile(user)), conduct);
  await take(directoryRemovalStep(mountPoint), conduct);
  await take(removalStep(join(keysDirectory, user)), conduct);
  await take(userRemovalStep(user), conduct);
  const others = await findNeighbours();
  const isLast = others.every((other) => other.name === user || other.mountPoint === mountPoint);
  if (isLast) await removeShared(conduct);
  return 0;
}

async function removeUnit(user: string, conduct: Conduct): Promise<void> {
  const instance = `s3jail@${user}.service`;
  const now = isSystemdRunning() ? ['--now'] : [];
  const link = `/etc/systemd/system/multi-user.target.wants/${instance}`;
  await take(
    {
      what: `stop and disable ${instance}`,
      isDone: () => Promise.resolve(!existsSync(link)),
      run: () => mustRun('systemctl', ['disable', ...now, instance]),
    },
    conduct,
  );
}

/** umount(8) hands over to nobody for a FUSE mount: the process then stores what is open. */
function unmountStep(mountPoint: string): Step {
  return {
    what: `unmount ${mountPoint}`,
    isDone: () => Promise.resolve(findMount(mountPoint) === undefined),
    run: async () => {
      const { runUnmount } = await import('./unmount.js');
      const lost: string[] = [];
      if ((await runUnmount(mountPoint, (line) => lost.push(line))) === 0) return;
      throw new Failure(2, `${mountPoint}: ${lost.join('; ')}`);
    },
  };
}

function fstabRemovalStep(mountPoint: string): Step {
  const after = async () => withoutFstabLine((await readIfThere(fstab)) ?? '', mountPoint);
  return {
    what: `remove the line for ${mountPoint} from ${fstab}`,
    isDone: async () => (await after()) === ((await readIfThere(fstab)) ?? ''),
    run: async () => replaceFile({ path: fstab, content: await after(), mode: 0o644 }),
  };
}

async function removeShared(conduct: Conduct): Promise<void> {
  await take(removalStep(unitFile), conduct);
  await take(directoryRemovalStep(environmentDirectory), conduct);
  await take(directoryRemovalStep(keysDirectory), conduct);
  for (const path of helperLinks) {
    const isDone = async () => (await linkTarget(path)) !== helperProgram;
    await take({ what: `remove ${path}`, isDone, run: () => rm(path) }, conduct);
  }
  if (!conduct.dryRun && isSystemdRunning()) await mustRun('systemctl', ['daemon-reload']);
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    // ENOENT: nothing there. EINVAL: a file of somebody else's.
    if (['ENOENT', 'EINVAL'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
