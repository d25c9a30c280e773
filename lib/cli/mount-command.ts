/**
 * `mount`, and `check` and `policy`, which take what it takes: one commander option for each row of the
 * option table and its opposite.
 */
import { Option, type Command } from 'commander';
import {
  planMount,
  planService,
  type MountPlan,
  type MountRequest,
} from '../options/mount-plan.js';
import type { Ambient } from '../options/mount-options.js';
import { optionGroups } from '../options/option-spec.js';
import { optionRows } from '../options/table.js';
import { isSwitch, oppositeName, type WrittenOption } from '../options/options.js';
import { baseCommand, separate, withOperands, type Done } from './command-words.js';
import { useUnitCredentials } from '../host/kept-credentials.js';
import { printable, printableLines } from '../host/printable.js';
import { complain, reportAs } from './failure-report.js';

/** `mount` with one commander option for each row of the table and its opposite. */
export function mountCommand(done: Done): Command {
  const command = baseCommand('mount')
    .description(
      'mount SOURCE, s3://bucket/prefix/ or bucket[/prefix], on the directory MOUNTPOINT',
    )
    .usage('SOURCE MOUNTPOINT [options]')
    .addOption(new Option('-f, --foreground', 'stay in the foreground and log to stderr'));
  return withMountOptions(command, async (request) => {
    const { foreground } = command.opts<MountFlags>();
    done(await mount(request, foreground === true));
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
export function serviceCommand(name: keyof typeof serviceHelp, done: Done): Command {
  const { description, usage } = serviceHelp[name];
  const command = baseCommand(name).description(description).usage(usage);
  return withMountOptions(command, async (request) => {
    done(await runService(name, request));
  }).addHelpText('after', '\nExit codes: 0 fine, 32 not.\n');
}

async function runService(name: keyof typeof serviceHelp, request: MountRequest): Promise<number> {
  const planned = planService(name, request, { environment: process.env, ambient: ambient() });
  reportAs(planned.options);
  const print = (text: string) => void process.stdout.write(`${printableLines(text)}\n`);
  if (name === 'policy') {
    const { policyNote, printedPolicy } = await import('../preflight/printed-policy.js');
    print(printedPolicy(planned));
    const note = policyNote(planned);
    if (note !== undefined) process.stderr.write(`s3jail: ${printable(note)}\n`);
    return 0;
  }
  const { runCheck } = await import('../preflight/check.js');
  return runCheck(planned, print);
}

/** Adds everything the option table has, and calls `action` with what was written. */
function withMountOptions(
  command: Command,
  action: (request: MountRequest) => Promise<void>,
): Command {
  const commandLine: WrittenOption[] = [];
  withOperands(command).addOption(new Option('--sloppy').hideHelp());
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

function ambient(): Ambient {
  const { env } = process;
  return {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    tmpdir: env['TMPDIR'] === '' ? undefined : env['TMPDIR'],
    hasEndpointVariable: Boolean(env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL']),
  };
}

/** What is asked for, understood. @throws UsageError */
export function plan(request: MountRequest): MountPlan {
  const planned = planMount(request, { environment: process.env, ambient: ambient() });
  reportAs(planned.options);
  return planned;
}

/** Mounts as asked. @returns the exit code */
export async function mount(request: MountRequest, foreground: boolean): Promise<number> {
  const planned = plan(request);
  useUnitCredentials(process.env);
  if (foreground) {
    const { runMount } = await import('../mount/mount.js');
    return runMount(planned);
  }
  const { mountInBackground } = await import('../mount/background.js');
  return mountInBackground(request, planned, complain);
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

Exit codes: 0 done, 1 wrong call, 2 system failure or data not stored, 32 the mount failed.
`;
