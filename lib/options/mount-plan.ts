/**
 * One call of `mount`, `check` or `policy`, as written and as understood: arguments, options and the
 * places SOURCE may come from together, so that all faults are told at once.
 */
import { resolve } from 'node:path';
import type { CustomerKey } from '../customer-key.js';
import { isLoopback } from '../loopback.js';
import { readCustomerKeys } from './customer-key-file.js';
import type { MountOptions } from './mount-options.js';
import { isAccessPointAlias } from './access-point.js';
import { OptionValueError } from './values.js';
import {
  isOptionName,
  resolveOptions,
  UsageError,
  type OptionInput,
  type WrittenOption,
} from './options.js';
import {
  parseSecretSource,
  parseSource,
  readSourceFile,
  showSource,
  type Source,
} from './source.js';

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
  /** of SSE-C; the first is for what is written */
  readonly customerKeys: readonly CustomerKey[];
}

/** What to ask S3 about, for commands that need no mount point; it is there if it was given. */
export type ServicePlan = Omit<MountPlan, 'mountPoint'> & { readonly mountPoint?: string };

/** How the operands of a command are read. */
interface Form {
  readonly usage: string;
  readonly mountPoint: 'needed' | 'optional' | 'none';
}

const mountForm: Form = {
  usage: 's3jail mount SOURCE MOUNTPOINT [options]',
  mountPoint: 'needed',
};

type PlanContext = Pick<OptionInput, 'environment' | 'ambient'>;

/** @throws UsageError with every fault */
export function planMount(request: MountRequest, context: PlanContext): MountPlan {
  const { mountPoint, ...plan } = makePlan(request, mountForm, context);
  if (mountPoint === undefined) throw new Error('a mount without a mount point was let through');
  return { ...plan, mountPoint };
}

/**
 * The plan of a command that takes SOURCE and the options of `mount`.
 * @throws UsageError with every fault
 */
export function planService(
  command: 'check' | 'policy',
  request: MountRequest,
  context: PlanContext,
): ServicePlan {
  const form: Form =
    command === 'check'
      ? { usage: 's3jail check SOURCE [MOUNTPOINT] [options]', mountPoint: 'optional' }
      : { usage: 's3jail policy SOURCE [options]', mountPoint: 'none' };
  const plan = makePlan(request, form, context);
  if (command === 'policy' && isAccessPointAlias(plan.source.bucket)) {
    throw new UsageError([`SOURCE is ${aliasInPolicy}`]);
  }
  return plan;
}

const aliasInPolicy =
  'the alias of an access point, which no policy can name; write its ARN, s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/prefix/';

function makePlan(request: MountRequest, form: Form, context: PlanContext): ServicePlan {
  const optionFaults: string[] = [];
  const placeFaults: string[] = [];
  const options = collect(optionFaults, () =>
    resolveOptions({
      commandLine: request.commandLine,
      lists: request.lists,
      sloppy: request.sloppy,
      ...context,
    }),
  );
  const parsed = collect(placeFaults, () =>
    parseOperands(request, form, secretSource(options, context.environment)),
  );
  const customerKeys = collect(optionFaults, () => keysOf(options, context.environment));
  if (parsed === undefined || options === undefined || customerKeys === undefined) {
    throw new UsageError([...placeFaults, ...optionFaults]);
  }
  const place = { ...parsed, customerKeys };
  const { source } = place;
  if (source.credentials === undefined && source.instanceRole === undefined) {
    const faults = [...accessPointFaults(source, options)];
    if (faults.length > 0) throw new UsageError(faults);
    return { ...place, options: { ...options, region: options.region ?? source.region } };
  }
  const fault = sourceContradiction(source, options);
  if (fault !== undefined) throw new UsageError([fault]);
  const endpointUrl = options.endpointUrl ?? source.endpointUrl;
  return {
    ...place,
    options: { ...options, endpointUrl, region: options.region ?? source.region },
  };
}

/** The keys of SSE-C. @throws UsageError, also where anybody could read them on their way to S3 */
function keysOf(
  options: MountOptions | undefined,
  environment: OptionInput['environment'],
): CustomerKey[] {
  const { sseCKeyFile: files = [], endpointUrl } = options ?? {};
  if (files.length === 0) return [];
  const { AWS_ENDPOINT_URL_S3: forS3, AWS_ENDPOINT_URL: forAll } = environment;
  if (isOpen(endpointUrl ?? forS3 ?? forAll)) {
    const why = 'everybody on the way to an http endpoint could read the key';
    throw new UsageError([`--sse-c-key-file needs https: ${why}`]);
  }
  try {
    return files.flatMap(readCustomerKeys);
  } catch (error) {
    if (!(error instanceof OptionValueError)) throw error;
    throw new UsageError([`--sse-c-key-file: ${error.message}`]);
  }
}

function isOpen(endpointUrl: string | undefined): boolean {
  if (endpointUrl === undefined || !URL.canParse(endpointUrl)) return false;
  const { protocol, hostname } = new URL(endpointUrl);
  return protocol === 'http:' && !isLoopback(hostname);
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

/** SOURCE from where it may hold keys, if it is there. */
interface SecretSource {
  /** what messages call the place */
  readonly origin: string;
  /** @throws OptionValueError */
  readonly parse: () => Source;
}

function secretSource(
  options: MountOptions | undefined,
  environment: OptionInput['environment'],
): SecretSource | undefined {
  const path = options?.sourceFile;
  if (path !== undefined) return { origin: '--source-file', parse: () => readSourceFile(path) };
  const text = environment['S3JAIL_SOURCE'];
  if (text === undefined || text === '') return undefined;
  return { origin: 'S3JAIL_SOURCE', parse: () => parseSecretSource(text) };
}

function parseOperands(
  { operands, commandLine }: MountRequest,
  form: Form,
  secret: SecretSource | undefined,
): Omit<ServicePlan, 'options' | 'customerKeys'> {
  const [sourceText, mountPoint, ...rest] = arrange(operands, form, secret);
  const isMissing = mountPoint === undefined ? form.mountPoint === 'needed' : mountPoint === '';
  if ((sourceText === undefined && secret === undefined) || isMissing) {
    throw new UsageError([`${missingOperands(operands, form)} missing: ${form.usage}`]);
  }
  if (rest.length > 0 || (form.mountPoint === 'none' && mountPoint !== undefined)) {
    // One of them may be the value of an option whose name is not known; that is told anyway.
    const isMistyped = commandLine.some(({ name }) => !isOptionName(name));
    const taken = form.mountPoint === 'none' ? 'one is' : 'two are';
    const fault = `${operands.length} arguments where ${taken} taken: ${form.usage}`;
    throw new UsageError(isMistyped ? [] : [fault]);
  }
  if (mountPoint?.includes('\0') === true) throw new UsageError(['MOUNTPOINT holds a NUL']);
  const place = mountPoint === undefined ? {} : { mountPoint: resolve(mountPoint) };
  try {
    if (sourceText !== undefined) {
      if (secret?.origin === '--source-file') {
        throw new UsageError(['SOURCE is an argument and in --source-file; leave one out']);
      }
      return { source: parseSource(sourceText), sourceText, ...place };
    }
    const source = secret?.parse() ?? parseSource('');
    return { source, sourceText: showSource(source), ...place };
  } catch (error) {
    if (!(error instanceof OptionValueError)) throw error;
    const isSecret = sourceText === undefined && secret !== undefined;
    throw new UsageError([isSecret ? `${secret.origin}: ${error.message}` : error.message]);
  }
}

/** SOURCE and MOUNTPOINT in their places; SOURCE is undefined where it is to come from elsewhere. */
function arrange(
  operands: readonly string[],
  form: Form,
  secret: SecretSource | undefined,
): (string | undefined)[] {
  const [first, second] = operands;
  if (secret === undefined) return [...operands];
  // fstab has no line without a first field; `none` is what it holds where nothing is named.
  if (first === 'none') return [undefined, ...operands.slice(1)];
  if (form.mountPoint === 'needed') {
    return second === undefined ? [undefined, ...operands] : [...operands];
  }
  return first === undefined || first.startsWith('/') ? [undefined, ...operands] : [...operands];
}

function missingOperands(operands: readonly string[], form: Form): string {
  if (form.mountPoint !== 'needed') return 'SOURCE is';
  const [only] = operands;
  if (only === undefined) return 'SOURCE and MOUNTPOINT are';
  // No bucket's name begins so.
  return /^[/.]/.test(only) ? 'SOURCE is' : 'MOUNTPOINT is';
}

/** An ARN says where it is, and only AWS knows access points. */
function* accessPointFaults({ bucket, region }: Source, options: MountOptions): Iterable<string> {
  if (options.homeCredentials === 'scoped' && isAccessPointAlias(bucket)) {
    yield `--home-credentials scoped: SOURCE is ${aliasInPolicy}`;
  }
  if (!bucket.startsWith('arn:')) return;
  if (options.region !== undefined && options.region !== region) {
    yield `SOURCE names the region ${region ?? ''}, which contradicts --region; leave that out`;
  }
  if (options.forcePathStyle === true) {
    yield 'SOURCE is an access point, whose name is always in the host, which contradicts --force-path-style';
  }
  const { endpointUrl } = options;
  if (endpointUrl === undefined) return;
  if (!/\.amazonaws\.com(?:\.cn)?$/.test(new URL(endpointUrl).hostname)) {
    yield 'SOURCE is an access point of AWS, which contradicts --endpoint-url; leave one out';
  }
}

/** A source with keys and host leaves no room for options that name others. */
function sourceContradiction(source: Source, options: MountOptions): string | undefined {
  const holds = source.instanceRole === true ? 'asks for the instance role' : 'holds keys';
  if (options.profile !== undefined) {
    return `SOURCE ${holds}, which contradicts --profile; leave one out`;
  }
  if (options.noSignRequest) {
    return `SOURCE ${holds}, which contradicts --no-sign-request; leave one out`;
  }
  // The same host may be named again, to say http:// instead of https://.
  const { endpointUrl: asked } = options;
  if (asked === undefined) return undefined;
  const named = source.endpointUrl;
  if (named !== undefined && new URL(named).host === hostOf(asked)) return undefined;
  return 'SOURCE names a host, which contradicts --endpoint-url; leave one out';
}

/** Host with port, the one https:// stands for left out as in URLs of that scheme. */
function hostOf(url: string): string {
  const { host } = new URL(url.replace(/^http:/i, 'https:'));
  return host;
}

/** Endpoint, bucket and prefix: what a journal of uploads is about. */
export function journalScopeOf({ source, options }: Pick<MountPlan, 'source' | 'options'>): string {
  return `${options.endpointUrl ?? 'aws'} ${showSource(source)}`;
}

/** What the store is told. */
export function storeOptionsOf({ source, options, customerKeys }: Omit<ServicePlan, 'sourceText'>) {
  const { bucket, prefix, credentials, instanceRole } = source;
  return { ...options, bucket, prefix, credentials, instanceRole, customerKeys };
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
