/**
 * One call of `mount`, as written and as understood: arguments, options and S3JAIL_SOURCE together,
 * so that all faults are told at once.
 */
import { resolve } from 'node:path';
import type { MountOptions } from './option-table.js';
import { OptionValueError } from './option-values.js';
import {
  isOptionName,
  resolveOptions,
  UsageError,
  type OptionInput,
  type WrittenOption,
} from './options.js';
import { parseSecretSource, parseSource, showSource, type Source } from './source.js';

/** What stood on the command line. */
export interface MountRequest {
  readonly operands: readonly string[];
  readonly commandLine: readonly WrittenOption[];
  /** arguments of `-o` */
  readonly lists: readonly string[];
  /** leave out unknown names in `-o` */
  readonly sloppy: boolean;
}

/** What to mount, where and how; everything checked that can be checked without asking anybody. */
export interface MountPlan {
  readonly source: Source;
  /** SOURCE as ps shows it; holds no secret */
  readonly sourceText: string;
  /** absolute */
  readonly mountPoint: string;
  readonly options: MountOptions;
}

const usage = 's3jail mount SOURCE MOUNTPOINT [options]';

/** @throws UsageError with every fault */
export function planMount(
  request: MountRequest,
  context: Pick<OptionInput, 'environment' | 'ambient'>,
): MountPlan {
  const faults: string[] = [];
  const place = collect(faults, () => parseOperands(request, context.environment));
  const options = collect(faults, () =>
    resolveOptions({
      commandLine: request.commandLine,
      lists: request.lists,
      sloppy: request.sloppy,
      ...context,
    }),
  );
  if (place === undefined || options === undefined) throw new UsageError(faults);
  const { source } = place;
  if (source.endpointUrl === undefined) return { ...place, options };
  const fault = sourceContradiction(options);
  if (fault !== undefined) throw new UsageError([fault]);
  return { ...place, options: { ...options, endpointUrl: source.endpointUrl } };
}

function collect<T>(faults: string[], parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    faults.push(...error.faults);
    return undefined;
  }
}

function parseOperands(
  { operands, commandLine }: MountRequest,
  environment: OptionInput['environment'],
): Omit<MountPlan, 'options'> {
  const secretSource = nonEmpty(environment['S3JAIL_SOURCE']);
  const fromEnvironment = operands.length === 1 && secretSource !== undefined;
  const sourceText = fromEnvironment ? secretSource : operands[0];
  const mountPoint = operands[fromEnvironment ? 0 : 1];
  if (sourceText === undefined || !mountPoint) {
    const what = operands.length < 1 ? 'SOURCE and MOUNTPOINT are' : 'SOURCE or MOUNTPOINT is';
    throw new UsageError([`${what} missing: ${usage}`]);
  }
  if (operands.length > 2) {
    // One of them may be the value of an option whose name is not known; that is told anyway.
    const isMistyped = commandLine.some(({ name }) => !isOptionName(name));
    const fault = `${operands.length} arguments where two are taken: ${usage}`;
    throw new UsageError(isMistyped ? [] : [fault]);
  }
  if (mountPoint.includes('\0')) throw new UsageError(['MOUNTPOINT holds a NUL']);
  try {
    const source = fromEnvironment ? parseSecretSource(sourceText) : parseSource(sourceText);
    const shown = fromEnvironment ? showSource(source) : sourceText;
    return { source, sourceText: shown, mountPoint: resolve(mountPoint) };
  } catch (error) {
    if (!(error instanceof OptionValueError)) throw error;
    throw new UsageError([fromEnvironment ? `S3JAIL_SOURCE: ${error.message}` : error.message]);
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

/** A source with keys and host leaves no room for options that name others. */
function sourceContradiction(options: MountOptions): string | undefined {
  const rivals = [
    ['endpointUrl', '--endpoint-url'],
    ['profile', '--profile'],
  ] as const;
  for (const [key, name] of rivals) {
    if (options[key] !== undefined) {
      return `S3JAIL_SOURCE names host and keys, which contradicts ${name}; leave one out`;
    }
  }
  if (!options.noSignRequest) return undefined;
  return 'S3JAIL_SOURCE holds keys, which contradicts --no-sign-request; leave one out';
}

/** Arguments that make the same request again, for the process that stays in the background. */
export function argumentsOf(request: MountRequest, plan: MountPlan): string[] {
  const operands = [...request.operands.slice(0, -1), plan.mountPoint];
  const options = request.commandLine.map(({ name, text }) =>
    text === undefined ? `--${name}` : `--${name}=${text}`,
  );
  const lists = request.lists.flatMap((list) => ['-o', list]);
  const sloppy = request.sloppy ? ['--sloppy'] : [];
  return [...operands, '--foreground', ...sloppy, ...options, ...lists];
}
