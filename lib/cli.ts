/**
 * The commands: reads arguments, prints, exits. Nothing else of the program does either.
 *
 * Every line on stderr starts with `s3jail: `. A stack trace appears only at `--log-level debug`.
 */
import { Argument, Command, CommanderError, Option } from 'commander';
import { systemErrorCode } from './errors.js';
import { Failure, messageOf, type ExitCode } from './failure.js';
import type { CommandFacts } from './manual.js';
import { planMount, planService, type MountPlan, type MountRequest } from './mount-request.js';
import { nearest } from './nearest.js';
import { optionGroups, optionRows, type Ambient } from './option-table.js';
import { isSwitch, oppositeName, UsageError, type WrittenOption } from './options.js';
import { reportToParent } from './parent-channel.js';
import { readVersion } from './version.js';

export type Program = 's3jail' | 'mount.s3jail';

/** Set once options are read: at debug level failures show where they arose. */
let showsStacks = false;

/**
 * Runs one command and ends the process with its exit code.
 * @param args arguments without program and script
 */
export async function main(program: Program, args: readonly string[]): Promise<void> {
  let exitCode: number;
  try {
    exitCode = await (program === 's3jail' ? runCommand(args) : runMountHelper(args));
  } catch (error) {
    exitCode = await reportFailure(error);
  }
  process.exit(exitCode);
}

async function reportFailure(error: unknown): Promise<number> {
  // Help and version come as such an error too.
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const { lines, exitCode } = explain(error);
  for (const line of lines) complain(line);
  if (showsStacks && error instanceof Error) process.stderr.write(`${withCauses(error)}\n`);
  await reportToParent({ kind: 'failed', lines, exitCode });
  return exitCode;
}

function explain(error: unknown): { lines: readonly string[]; exitCode: Exclude<ExitCode, 0> } {
  if (error instanceof UsageError) return { lines: error.faults, exitCode: 1 };
  if (error instanceof Failure) return { lines: [error.message], exitCode: error.exitCode };
  if (error instanceof CommanderError) {
    const [fault = '', hint] = error.message.replace(/^error: /, '').split('\n');
    const cure = hint === undefined ? '' : `; ${hint.replace(/^\(D(.*)\)$/, 'd$1')}`;
    return { lines: [fault + cure], exitCode: 1 };
  }
  if (systemErrorCode(error) === 'ERR_MODULE_NOT_FOUND') {
    const missing = messageOf(error).split('\n', 1).join();
    const line = `the installation is incomplete: ${missing}; run npm ci && npm run build`;
    return { lines: [line], exitCode: 2 };
  }
  const cure = showsStacks ? '' : '; --log-level debug shows where it arose';
  return { lines: [`unexpected failure: ${messageOf(error)}${cure}`], exitCode: 2 };
}

function withCauses(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${withCauses(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

function complain(line: string): void {
  process.stderr.write(`s3jail: ${line}\n`);
}

async function runCommand(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = baseCommand('s3jail')
    .description('Mounts one S3 prefix as a directory that sshd can serve to a chrooted SFTP user.')
    .usage('COMMAND [options]')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('--help', 'print this help; s3jail COMMAND --help explains a command')
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
    .allowUnknownOption()
    .allowExcessArguments()
    .enablePositionalOptions()
    .action(() => refuseCommand(program));

  program.addCommand(
    mountCommand(async (request, foreground) => {
      exitCode = await mount(request, foreground);
    }),
  );
  program
    .command('unmount')
    .description('finish the uploads, then unmount')
    .argument('<mountpoint>')
    .usage('MOUNTPOINT [--if-dead]')
    .option('--if-dead', 'only where its process is gone; leave a living mount alone')
    .helpOption('--help', 'print this help')
    .action(async (mountPoint: string, options: { ifDead?: boolean }) => {
      const { runUnmount } = await import('./unmount.js');
      exitCode = await runUnmount(mountPoint, complain, options);
    });
  program
    .command('setup')
    .description('all that an SFTP user needs here: user, mount at boot, chroot in sshd')
    .argument('<user>')
    .argument('[source]')
    .usage('USER SOURCE [-o LIST] [options], or USER --remove')
    .addOption(listOption())
    .option('--mount-point <DIR>', 'where to mount (/srv/sftp/USER)')
    .option('--authorized-keys <FILE>', 'public keys that USER logs in with')
    .addOption(
      new Option(
        '--init <KIND>',
        'what mounts at boot (systemd where it runs, else fstab)',
      ).choices(['systemd', 'fstab']),
    )
    .option('--overlap', "take a SOURCE that holds another user's, or the other way")
    .option('--remove', 'undo all of it; the objects in S3 stay')
    .option('--dry-run', 'only say what would be done')
    .helpOption('--help', 'print this help')
    .action(async (user: string, source: string | undefined, options: SetupFlags) => {
      exitCode = await setup(user, source, options);
    });
  for (const name of ['check', 'policy'] as const) {
    program.addCommand(
      serviceCommand(name, async (request) => {
        exitCode = await runService(name, request);
      }),
    );
  }
  program
    .command('status')
    .description('what the mounts here are and do: uploads, requests, last problems')
    .argument('[mountpoint]')
    .usage('[MOUNTPOINT] [--json]')
    .option('--json', 'for programs')
    .helpOption('--help', 'print this help')
    .action(async (mountPoint: string | undefined, options: { json?: boolean }) => {
      const { runStatus } = await import('./status.js');
      exitCode = await runStatus({ mountPoint, json: options.json === true });
    });
  program
    .command('demo')
    .description('SFTP over S3 on this machine, with an S3 server, a mount and an sshd of its own')
    .usage('[--script FILE]')
    .option('--script <FILE>', 'run this sftp batch, take everything down, exit with its status')
    .helpOption('--help', 'print this help')
    .action(async (options: { script?: string }) => {
      const { runDemo } = await import('./demo.js');
      exitCode = await runDemo(options);
    });
  program
    .command('manual')
    .description('print the manual page s3jail(8), for man -l -')
    .usage(' ')
    .helpOption('--help', 'print this help')
    .action(async () => {
      const { manualPage } = await import('./manual.js');
      process.stdout.write(manualPage(factsOf(program), readVersion()));
    });
  program
    .command('completion')
    .description('print what a shell completes commands and options with')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .usage('bash|zsh|fish')
    .helpOption('--help', 'print this help')
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('./completion.js');
      process.stdout.write(completionScript(shell, factsOf(program)));
    });
  await program.parseAsync(args, { from: 'user' });
  return exitCode;
}

/** The commands and options that help shows. */
function factsOf(program: Command): CommandFacts[] {
  return program.commands.map((command) => ({
    name: command.name(),
    usage: command.usage().trim(),
    description: command.description(),
    options: command.options
      .filter(({ hidden }) => !hidden)
      .map(({ flags, description }) => ({ flags, description })),
  }));
}

interface SetupFlags {
  readonly o?: string[];
  readonly mountPoint?: string;
  readonly authorizedKeys?: string;
  readonly init?: 'systemd' | 'fstab';
  readonly overlap?: boolean;
  readonly remove?: boolean;
  readonly dryRun?: boolean;
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
  const { runSetup } = await import('./setup.js');
  const request = {
    user,
    source,
    mountPoint: options.mountPoint,
    init: options.init,
    authorizedKeys: options.authorizedKeys,
    lists: options.o ?? [],
    overlap: options.overlap === true,
    dryRun: options.dryRun === true,
  };
  return runSetup(request, (line) => process.stdout.write(`${line}\n`));
}

/** A commander command that throws instead of printing and exiting. */
function baseCommand(name: string): Command {
  return new Command(name).exitOverride().configureOutput({ writeErr: () => undefined });
}

function refuseCommand(program: Command): never {
  const known = program.commands.map((command) => command.name());
  const word = program.args[0];
  if (word === undefined)
    throw new UsageError([`a command is missing: ${known.join(', ')}; see s3jail --help`]);
  if (word.startsWith('-')) {
    const name = word.replace(/=.*$/s, '');
    throw new UsageError([`there is no option ${name} before the command; see s3jail --help`]);
  }
  const looksLikeSource = word.includes('/');
  if (looksLikeSource) {
    throw new UsageError(['the first word has to be a command: s3jail mount SOURCE MOUNTPOINT']);
  }
  const meant = nearest(word.toLowerCase(), known);
  const cure = meant === undefined ? `there are ${known.join(', ')}` : `did you mean ${meant}?`;
  throw new UsageError([`there is no command ${word}; ${cure}`]);
}

type MountAction = (request: MountRequest, foreground: boolean) => Promise<void>;

/** `mount` with one commander option for each row of the table and its opposite. */
function mountCommand(action: MountAction): Command {
  const command = baseCommand('mount')
    .description(
      'mount SOURCE, s3://bucket/prefix/ or bucket[/prefix], on the directory MOUNTPOINT',
    )
    .usage('SOURCE MOUNTPOINT [options]')
    .addOption(new Option('-f, --foreground', 'stay in the foreground and log to stderr'));
  return withMountOptions(command, async (request) => {
    const { foreground } = command.opts<MountFlags>();
    await action(request, foreground === true);
  }).addHelpText('after', mountHelpEnd);
}

const serviceHelp = {
  check: {
    description:
      'look at all that mounting SOURCE needs, on this machine and at S3; mounts nothing',
    usage: 'SOURCE [MOUNTPOINT] [options]',
  },
  policy: {
    description: 'print the least IAM policy for mounting SOURCE, as JSON',
    usage: 'SOURCE [options]',
  },
} as const;

/** A command that takes SOURCE and all that `mount` takes, and asks S3 instead of mounting. */
function serviceCommand(
  name: keyof typeof serviceHelp,
  action: (request: MountRequest) => Promise<void>,
): Command {
  const { description, usage } = serviceHelp[name];
  const command = baseCommand(name).description(description).usage(usage);
  return withMountOptions(command, action).addHelpText('after', '\nExit codes: 0 fine, 32 not.\n');
}

async function runService(name: 'check' | 'policy', request: MountRequest): Promise<number> {
  const planned = planService(name, request, { environment: process.env, ambient: ambient() });
  showsStacks = ['debug', 'trace'].includes(planned.options.logLevel);
  const print = (text: string) => void process.stdout.write(`${text}\n`);
  if (name === 'policy') {
    const { leastPolicy } = await import('./policy.js');
    print(JSON.stringify(leastPolicy(planned.source, planned.options), null, 2));
    return 0;
  }
  const { runCheck } = await import('./preflight/check.js');
  return runCheck(planned, print);
}

/** Adds everything the option table has, and calls `action` with what was written. */
function withMountOptions(
  command: Command,
  action: (request: MountRequest) => Promise<void>,
): Command {
  const commandLine: WrittenOption[] = [];
  command
    .helpOption('--help', 'print this help')
    .argument('[operands...]')
    .allowUnknownOption()
    .configureHelp({
      optionTerm: (option) => option.flags.replace(/[[\]<>]/g, ''),
      visibleArguments: () => [],
    })
    .addOption(listOption())
    .addOption(new Option('--sloppy').hideHelp());
  for (const group of optionGroups) {
    for (const row of optionRows.filter((each) => each.group === group)) {
      const fallback = row.defaultText === undefined ? '' : ` (${row.defaultText})`;
      // The value is optional to commander so that its absence is told with all other faults.
      const flags = isSwitch(row) ? `--${row.name}` : `--${row.name} [${row.value ?? ''}]`;
      const option = new Option(flags, `${row.help}${fallback}`).helpGroup(`${group}:`);
      listen(command, option, row.name, commandLine);
      if (!isSwitch(row)) continue;
      const opposite = oppositeName(row.name);
      listen(command, new Option(`--${opposite}`).hideHelp(), opposite, commandLine);
    }
  }
  return command.action(async () => {
    const { o, sloppy } = command.opts<MountFlags>();
    const [operands, unknown] = separate(command.args);
    await action({
      operands,
      commandLine: [...commandLine, ...unknown],
      lists: o ?? [],
      sloppy: sloppy === true,
    });
  });
}

interface MountFlags {
  readonly o?: string[];
  readonly foreground?: boolean;
  readonly sloppy?: boolean;
}

function listen(command: Command, option: Option, name: string, into: WrittenOption[]): void {
  command.addOption(option);
  command.on(`option:${option.name()}`, (text: string | null | undefined) => {
    into.push({ name, text: text ?? undefined });
  });
}

function listOption(): Option {
  return new Option('-o <LIST>', 'options as in fstab: -o name=value,name="a,b",name').argParser(
    (list: string, before: string[] | undefined) => [...(before ?? []), list],
  );
}

/** Operands, and options that commander does not know (it leaves both in one list). */
function separate(args: readonly string[]): [operands: string[], unknown: WrittenOption[]] {
  const isOption = (arg: string) => arg.length > 1 && arg.startsWith('-');
  const unknown = args.filter(isOption).map((arg) => {
    const equals = arg.indexOf('=');
    const name = (equals < 0 ? arg : arg.slice(0, equals)).replace(/^--?/, '');
    return equals < 0 ? { name } : { name, text: arg.slice(equals + 1) };
  });
  return [args.filter((arg) => !isOption(arg)), unknown];
}

const mountHelpEnd = `
Each option can also be written -o name=value, or set as environment variable S3JAIL_NAME (upper
case, _ for -). The command line comes first, then -o, then the environment. A switch NAME is turned
off by --no-NAME. Sizes: 8MiB, 1GiB. Times: 500ms, 5s, 2m.

Credentials come from where the AWS CLI takes them: AWS_… variables, ~/.aws, web identity, container
and instance roles. SOURCE may also be s3://KEY:SECRET@HOST/BUCKET/prefix, but only in the
environment variable S3JAIL_SOURCE or in --source-file; then it is left out here.

Without --foreground the command returns when the mount is usable. The mount then logs to --log-file,
else to /var/log/s3jail/NAME.log for root and ~/.local/state/s3jail/NAME.log for others, NAME being
the mount point without its first / and with - for each further one.

Exit codes: 0 done, 1 wrong
call, 2 system failure or data not stored, 32 the mount failed.
`;

function ambient(): Ambient {
  const { env } = process;
  return {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    tmpdir: env['TMPDIR'] === '' ? undefined : env['TMPDIR'],
    hasEndpointVariable: Boolean(env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL']),
  };
}

function plan(request: MountRequest): MountPlan {
  const planned = planMount(request, { environment: process.env, ambient: ambient() });
  showsStacks = ['debug', 'trace'].includes(planned.options.logLevel);
  return planned;
}

async function mount(request: MountRequest, foreground: boolean): Promise<number> {
  const planned = plan(request);
  if (foreground) {
    const { runMount } = await import('./mount.js');
    return runMount(planned);
  }
  const { mountInBackground } = await import('./background.js');
  return mountInBackground(request, planned, complain);
}

/**
 * `mount.s3jail SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o LIST] [-t TYPE]`, as mount(8) calls
 * its helpers ("External helpers" in mount(8)).
 */
async function runMountHelper(args: readonly string[]): Promise<number> {
  const command = baseCommand('mount.s3jail')
    .description('The helper that mount(8) calls for fstab lines of type s3jail.')
    .usage('SOURCE MOUNTPOINT [-sfnv] [-o LIST]')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('--help', 'print this help; s3jail mount --help lists the options for -o')
    .argument('[operands...]')
    .allowUnknownOption()
    .configureHelp({
      optionTerm: (option) => option.flags.replace(/[[\]<>]/g, ''),
      visibleArguments: () => [],
    })
    .addOption(listOption())
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
  const request = { operands, commandLine, lists: flags.o ?? [], sloppy: flags.sloppy === true };
  const { asksForRemount, runRemount } = await import('./remount.js');
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
