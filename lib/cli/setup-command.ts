/** `setup`: its words, and the request they make. */
import { Option, type Command } from 'commander';
import { UsageError } from '../options/options.js';
import { printable } from '../host/printable.js';
import { baseCommand, listOption, type Done } from './command-words.js';

interface SetupFlags {
  readonly o?: string[];
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
    .argument('<user>')
    .argument('[source]')
    .usage('USER SOURCE [-o LIST] [options], or USER --remove')
    .addOption(listOption())
    .option('--mount-point <DIR>', 'where to mount (/srv/sftp/USER)')
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
    .action(async (user: string, source: string | undefined, options: SetupFlags) => {
      done(await setup(user, source, options));
    });
}

async function setup(
  user: string,
  source: string | undefined,
  options: SetupFlags,
): Promise<number> {
  const isRemoval = options.remove === true;
  if (isRemoval !== (source === undefined)) {
    throw new UsageError(['setup takes USER SOURCE, or USER --remove; see s3jail setup --help']);
  }
  const { runSetup } = await import('../setup/setup.js');
  const request = {
    user,
    source,
    mountPoint: options.mountPoint,
    init: options.init,
    authorizedKeys: options.authorizedKeys,
    credentials: options.credentials,
    onDemand: options.onDemand,
    idleTime: options.idleTime,
    lists: options.o ?? [],
    overlap: options.overlap === true,
    dryRun: options.dryRun === true,
  };
  return runSetup(request, (line) => process.stdout.write(`${printable(line)}\n`));
}
