/** `mount.s3jail`: the mount command as mount(8) and fstab know it. */
import { resolve } from 'node:path';
import { Option } from 'commander';
import { useMachineSettings } from '../host/kept-credentials.js';
import { splitOptionList, UsageError } from '../options/options.js';
import { readVersion } from '../host/version.js';
import { baseCommand, separate, withOperands } from './command-words.js';
import { complain } from './failure-report.js';
import { mount, plan } from './mount-command.js';

/**
 * `mount.s3jail SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o LIST] [-t TYPE]`, as mount(8) calls
 * its helpers ("External helpers" in mount(8)).
 */
export async function runMountHelper(args: readonly string[]): Promise<number> {
  const command = withOperands(
    baseCommand('mount.s3jail')
      .description('The helper that mount(8) calls for fstab lines of type s3jail.')
      .usage('SOURCE MOUNTPOINT [-sfnv] [-o LIST]')
      .version(readVersion(), '--version', 'print the version')
      .helpOption('--help', 'print this help; s3jail mount --help lists the options for -o'),
  )
    .addOption(new Option('-s, --sloppy', 'leave out options of the list that are not known'))
    .addOption(new Option('-f, --fake', 'check the arguments, mount nothing'))
    .addOption(new Option('-n, --no-mtab', 'ignored: there is no mtab'))
    .addOption(new Option('-v, --verbose', 'say what was mounted'))
    .addOption(
      new Option('-N, --namespace <NAMESPACE>', 'refused: mount from inside the namespace'),
    )
    .addOption(new Option('-t, --types <TYPE>', 'ignored: it is s3jail'))
    .action(() => undefined);
  await command.parseAsync(args, { from: 'user' });
  const flags = command.opts<HelperFlags>();
  if (flags.namespace !== undefined) {
    throw new UsageError([
      '-N: cannot mount into another namespace; run mount inside it (nsenter)',
    ]);
  }
  const [operands, commandLine] = separate(command.args);
  const words = (flags.o ?? []).flatMap((list) => splitOptionList(list) ?? []);
  if (process.geteuid?.() === 0) {
    const mountPoint = resolve(operands.at(-1) ?? '');
    await useMachineSettings(process.env, { options: words, mountPoint });
  }
  const request = { operands, commandLine, lists: flags.o ?? [], sloppy: flags.sloppy === true };
  const { asksForRemount, runRemount } = await import('../mount/remount.js');
  if (asksForRemount(request.lists)) {
    await runRemount(operands.at(-1) ?? '', request.lists);
    return 0;
  }
  if (flags.fake === true) {
    plan(request);
    return 0;
  }
  const exitCode = await mount(request, false);
  if (flags.verbose === true && exitCode === 0) complain(`mounted on ${plan(request).mountPoint}`);
  return exitCode;
}

interface HelperFlags {
  readonly o?: string[];
  readonly sloppy?: boolean;
  readonly fake?: boolean;
  readonly verbose?: boolean;
  readonly namespace?: string;
}
