/**
 * The commands: reads arguments, prints, exits. Nothing else of the program does either.
 *
 * Every line on stderr starts with `s3jail: `. A stack trace appears only at `--log-level debug`.
 */
import { Argument, type Command } from 'commander';
import { systemErrorCode } from '../errors.js';
import { baseCommand, type Done } from './command-words.js';
import { complain, reportFailure } from './failure-report.js';
import { mountCommand, serviceCommand } from './mount-command.js';
import { runMountHelper } from './mount-helper.js';
import { setupCommand } from './setup-command.js';
import type { CommandFacts } from './manual.js';
import { nearest } from '../options/nearest.js';
import { UsageError } from '../options/options.js';
import { OptionValueError, parseAddress, type Address } from '../options/values.js';
import { readVersion } from '../host/version.js';

export type Program = 's3jail' | 'mount.s3jail';

/**
 * Runs one command and ends the process with its exit code.
 * @param args arguments without program and script
 */
export async function main(program: Program, args: readonly string[]): Promise<void> {
  let exitCode: number;
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreGoneReader);
  try {
    exitCode = await (program === 's3jail' ? runCommand(args) : runMountHelper(args));
  } catch (error) {
    exitCode = await reportFailure(error);
  }
  await Promise.all([handedOver(process.stdout), handedOver(process.stderr)]);
  process.exit(exitCode);
}

/** Whoever reads our pipe may have seen enough; there is nobody left to tell. */
function ignoreGoneReader(error: Error): void {
  if (systemErrorCode(error) !== 'EPIPE') throw error;
}

/** A pipe takes 64 KiB at a time; what waits for its reader would go with the process. */
async function handedOver(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((done) => stream.write('', () => done()));
}

const examples = `
Examples:
  s3jail check s3://bucket/alice/ --uid alice      is all there that a mount needs?
  s3jail mount s3://bucket/alice/ /srv/sftp/alice --uid alice
  s3jail setup alice s3://bucket/alice/            user, mount at boot, sshd
  s3jail status
  s3jail metrics --listen 9465                     all mounts for one scrape of Prometheus
  s3jail unmount /srv/sftp/alice
`;

async function runCommand(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = baseCommand('s3jail')
    .description('Mounts one S3 prefix as a directory that sshd can serve to a chrooted SFTP user.')
    .usage('COMMAND [options]')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'print this help; s3jail COMMAND --help explains a command')
    .helpCommand(`${help.name} ${help.usage}`, help.description)
    .addHelpText('after', examples)
    .configureHelp({ subcommandTerm: (command) => `${command.name()} ${command.usage()}` })
    .allowUnknownOption()
    .allowExcessArguments()
    .enablePositionalOptions()
    .action(() => refuseCommand(program));

  const done: Done = (status) => (exitCode = status);
  for (const command of [
    mountCommand(done),
    unmountCommand(done),
    setupCommand(done),
    serviceCommand('check', done),
    serviceCommand('policy', done),
    statusCommand(done),
    metricsCommand(done),
    demoCommand(done),
    manualCommand(program),
    completionCommand(program),
  ]) {
    program.addCommand(command);
  }
  await program.parseAsync(withoutHelpCommand(program, args), { from: 'user' });
  return exitCode;
}

const help = {
  name: 'help',
  usage: '[COMMAND]',
  description: 'print this help, or explain a command',
  options: [],
} as const;

/** `help mount` is `mount --help`; of a word that is no command the program says so itself. */
function withoutHelpCommand(program: Command, args: readonly string[]): readonly string[] {
  const [first, asked] = args;
  if (first !== help.name) return args;
  if (asked === undefined) return ['--help'];
  const isKnown = program.commands.some((command) => command.name() === asked);
  return isKnown ? [asked, '--help'] : [asked];
}

function unmountCommand(done: Done): Command {
  return baseCommand('unmount')
    .description('finish the uploads, then unmount')
    .argument('<mountpoint>')
    .usage('MOUNTPOINT [--if-dead]')
    .option('--if-dead', 'only where its process is gone; leave a living mount alone')
    .action(async (mountPoint: string, options: { ifDead?: boolean }) => {
      const { runUnmount } = await import('../mount/unmount.js');
      done(await runUnmount(mountPoint, complain, options));
    });
}

interface StatusOptions {
  readonly json?: boolean;
  readonly discardHeld?: string;
}

function statusCommand(done: Done): Command {
  return baseCommand('status')
    .description('what the mounts here are and do: uploads, requests, last problems')
    .argument('[mountpoint]')
    .usage('[MOUNTPOINT] [--json] [--discard-held PATH]')
    .option('--json', 'for programs')
    .option('--discard-held <PATH>', 'give up what is held of this interrupted upload')
    .action(async (mountPoint: string | undefined, options: StatusOptions) => {
      const { runStatus } = await import('../status/status.js');
      const { json = false, discardHeld } = options;
      done(await runStatus({ mountPoint, json, discardHeld }));
    });
}

function metricsCommand(done: Done): Command {
  return baseCommand('metrics')
    .description('the metrics of all mounts here, for Prometheus')
    .usage('[--listen ADDRESS]')
    .option('--listen <ADDRESS>', 'serve them on PORT of this machine alone, or on HOST:PORT')
    .action(async ({ listen }: { listen?: string }) => {
      const address = listen === undefined ? undefined : addressOf(listen);
      const { runMetrics } = await import('../status/host-metrics.js');
      done(await runMetrics(address));
    });
}

/** @throws UsageError */
function addressOf(listen: string): Address {
  try {
    return parseAddress(listen);
  } catch (error) {
    throw error instanceof OptionValueError
      ? new UsageError([`--listen: ${error.message}`])
      : error;
  }
}

function demoCommand(done: Done): Command {
  return baseCommand('demo')
    .description('SFTP over S3 on this machine, with an S3 server, a mount and an sshd of its own')
    .usage('[--script FILE]')
    .option('--script <FILE>', 'run this sftp batch, take everything down, exit with its status')
    .action(async (options: { script?: string }) => {
      const { runDemo } = await import('../demo/demo.js');
      done(await runDemo(options));
    });
}

function manualCommand(program: Command): Command {
  return baseCommand('manual')
    .description('print the manual page s3jail(8), for man -l -')
    .usage(' ')
    .action(async () => {
      const { manualPage } = await import('./manual.js');
      process.stdout.write(manualPage(factsOf(program), readVersion()));
    });
}

function completionCommand(program: Command): Command {
  return baseCommand('completion')
    .description('print what a shell completes commands and options with')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
    .usage('bash|zsh|fish')
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { completionScript } = await import('./completion.js');
      process.stdout.write(completionScript(shell, factsOf(program)));
    });
}

/** The commands and options that help shows. */
function factsOf(program: Command): CommandFacts[] {
  const facts: CommandFacts[] = program.commands.map((command) => ({
    name: command.name(),
    usage: command.usage().trim(),
    description: command.description(),
    options: command.options
      .filter(({ hidden }) => !hidden)
      .map(({ flags, description }) => ({ flags, description })),
  }));
  return [...facts, help];
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
