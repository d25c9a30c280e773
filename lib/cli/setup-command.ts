/** `setup`: its words, and the request they make. */
import { Option, type Command } from 'commander';
import { UsageError } from '../options/options.js';
import { printable } from '../host/printable.js';
import { baseCommand, listOption, type Done } from './command-words.js';

interface SetupFlags {
  readonly o?: string[];
  readonly homes?: boolean;
  readonly homesGroup?: string;
  readonly mountPoint?: string;
  readonly authorizedKeys?: string;
  readonly init?: 'systemd' | 'fstab';
  readonly credentials?: string;
  readonly onDemand?: boolean;
  readonly idleTime?: string;
  readonly overlap?: boolean;
  readonly remove?: boolean;
  readonly dryRun?: boolean;
}

export function setupCommand(done: Done): Command {
  const init = new Option(
    '--init <KIND>',
    'what mounts at boot (systemd where it runs, else fstab)',
  );
  return baseCommand('setup')
    .description('all that an SFTP user needs here: user, mount at boot, chroot in sshd')
    .argument('[user]')
    .argument('[source]')
    .usage(
      'USER SOURCE [-o LIST] [options], or --homes SOURCE [-o LIST] [options]; with --remove no SOURCE',
    )
    .addOption(listOption())
    .option('--homes', 'one mount for all users of a group, instead of USER')
    .option('--homes-group <GROUP>', 'with --homes: who has a home and is chrooted there (sftp)')
    .option('--mount-point <DIR>', 'where to mount (/srv/sftp/USER, /srv/sftp/homes)')
    .option('--authorized-keys <FILE>', 'public keys that USER logs in with')
    .option(
      '--credentials <FILE>',
      'S3 keys to keep for the mount: a file like ~/.aws/credentials, or `environment`',
    )
    .addOption(init.choices(['systemd', 'fstab']))
    .option('--on-demand', 'mount when somebody looks, unmount when nobody does (systemd)')
    .option('--no-on-demand', 'mount at boot again')
    .option('--idle-time <TIME>', 'how long a mount on demand may stay unused (10min)')
    .option('--overlap', "take a SOURCE that holds another user's, or the other way")
    .option('--remove', 'undo all of it; the objects in S3 stay')
    .option('--dry-run', 'only say what would be done')
    .action(async (first: string | undefined, second: string | undefined, options: SetupFlags) => {
      const isHomes = options.homes === true;
      done(await (isHomes ? setupHomes : setup)([first, second], options));
    });
}

type Operands = readonly [string | undefined, string | undefined];

const print = (line: string): void => void process.stdout.write(`${printable(line)}\n`);

async function setupHomes([source, ...rest]: Operands, options: SetupFlags): Promise<number> {
  const isRemoval = options.remove === true;
  if (rest[0] !== undefined || isRemoval !== (source === undefined)) {
    throw new UsageError(['setup --homes takes SOURCE, or --remove; see s3jail setup --help']);
  }
  for (const name of ['authorizedKeys', 'onDemand', 'idleTime'] as const) {
    if (options[name] === undefined) continue;
    throw new UsageError([`--${kebab(name)} is for the mount of one user, not for --homes`]);
  }
  const { runHomesSetup } = await import('../setup/homes.js');
  return runHomesSetup({ ...requestOf(source, options), group: options.homesGroup }, print);
}

/** What is asked of every mount. */
function requestOf(source: string | undefined, options: SetupFlags) {
  const { o = [], mountPoint, init, credentials, overlap = false, dryRun = false } = options;
  return { source, mountPoint, init, credentials, lists: o, overlap, dryRun };
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

async function setup([user, source]: Operands, options: SetupFlags): Promise<number> {
  const isRemoval = options.remove === true;
  if (options.homesGroup !== undefined) throw new UsageError(['--homes-group goes with --homes']);
  if (user === undefined || isRemoval !== (source === undefined)) {
    throw new UsageError(['setup takes USER SOURCE, or USER --remove; see s3jail setup --help']);
  }
  const { runSetup } = await import('../setup/setup.js');
  const { authorizedKeys, onDemand, idleTime } = options;
  const own = { user, authorizedKeys, onDemand, idleTime };
  return runSetup({ ...requestOf(source, options), ...own }, print);
}
