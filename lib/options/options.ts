/**
 * From what the operator wrote (command line, `-o` lists, S3JAIL_… variables) to MountOptions.
 *
 * Precedence: command line, then `-o`, then environment, then default. Every fault is found before
 * any is reported, each names its option and the cure, and none repeats the value of a name it does
 * not know: that could be a secret meant for another program.
 */
import { nearest } from './nearest.js';
import { contradictions } from './contradictions.js';
import type { Ambient, MountOptions, OptionKey } from './mount-options.js';
import type { OptionSpec } from './option-spec.js';
import { optionTable } from './table.js';
import { OptionValueError, parseFlag } from './values.js';

export type { Ambient, MountOptions } from './mount-options.js';

/** The program was called wrongly: exit code 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** one sentence each */
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

/** An option as it stood on the command line; `text` is absent where it had no value. */
export interface WrittenOption {
  /** without the leading `--` */
  readonly name: string;
  readonly text?: string | undefined;
}

export interface OptionInput {
  /** in the order written, known or not */
  readonly commandLine: readonly WrittenOption[];
  /** arguments of `-o` */
  readonly lists: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly ambient: Ambient;
  /** mount(8)'s `-s`: names unknown in `-o` are left out instead of refused */
  readonly sloppy?: boolean;
}

/** Names taken by `mount`, with what they stand for; every switch has its `no-` form. */
const names = new Map<string, { key: OptionKey; negated: boolean }>();
for (const [property, row] of Object.entries(optionTable)) {
  const key = property as OptionKey;
  names.set(row.name, { key, negated: false });
  if (isSwitch(row)) names.set(oppositeName(row.name), { key, negated: true });
}

/** Whether an option is given without a value. */
export function isSwitch(row: OptionSpec<unknown>): boolean {
  return row.value === undefined;
}

/** Whether `mount` knows a name, be it the `no-` form of a switch. */
export function isOptionName(name: string): boolean {
  return names.has(name);
}

/** Whether an option given again adds to what it was given before. */
export function isRepeated(name: string): boolean {
  const known = names.get(name);
  const row: OptionSpec<unknown> | undefined = known && optionTable[known.key];
  return row?.repeats === true;
}

/** `chroot` → `no-chroot` → `chroot`. */
export function oppositeName(name: string): string {
  return name.startsWith('no-') ? name.slice('no-'.length) : `no-${name}`;
}

const environmentPrefix = 'S3JAIL_';
/** Variables of that prefix that are no options. */
const otherVariables = ['S3JAIL_SOURCE'];

/** The environment variable of an option. */
export function variableOf(name: string): string {
  return environmentPrefix + name.toUpperCase().replaceAll('-', '_');
}

/**
 * Words that mount(8), fstab and systemd use among themselves. They may stand in `-o` and mean
 * nothing to the mount, or what it does anyway.
 */
const mountWords = new Set(
  (
    'auto noauto defaults user nouser users owner group _netdev nofail ' +
    'nosuid nodev exec noexec atime noatime diratime nodiratime relatime norelatime strictatime ' +
    'nostrictatime lazytime nolazytime async'
  ).split(' '),
);
const mountWordForms = [/^x-/i, /^comment=/, /^user=/, /^uhelper=/, /^helper=/];

/** Whether a word of `-o` is one of those. */
export function isMountWord(word: string): boolean {
  return mountWords.has(word) || mountWordForms.some((form) => form.test(word));
}

/** Words of mount(8) that ask for what this mount never does. */
const refusedWords: ReadonlyMap<string, string> = new Map([
  ['suid', 'the mount is always nosuid'],
  ['dev', 'the mount is always nodev'],
  ['remount', 'a mount cannot be changed while it lives; unmount and mount again'],
  ['bind', 'a prefix cannot be bind-mounted; mount it first, then bind the mount point'],
]);

/**
 * All options, checked, with defaults.
 * @throws UsageError with every fault
 */
export function resolveOptions(input: OptionInput): MountOptions {
  const resolution = new Resolution(input.ambient);
  for (const [variable, text] of Object.entries(input.environment)) {
    if (text !== undefined) resolution.takeVariable(variable, text);
  }
  for (const list of input.lists) resolution.takeList(list, input.sloppy ?? false);
  for (const option of input.commandLine) resolution.takeOption(option);
  return resolution.finish();
}

/** Collects what was given and what is wrong with it; later takes win over earlier ones. */
class Resolution {
  readonly #ambient: Ambient;
  readonly #given = new Map<OptionKey, unknown>();
  readonly #origins = new Map<OptionKey, string>();
  readonly #faults: string[] = [];

  constructor(ambient: Ambient) {
    this.#ambient = ambient;
  }

  takeVariable(variable: string, text: string): void {
    if (!variable.startsWith(environmentPrefix) || otherVariables.includes(variable)) return;
    const name = variable.slice(environmentPrefix.length).toLowerCase().replaceAll('_', '-');
    if (variable !== variableOf(name) || !names.has(name)) {
      const variables = [...[...names.keys()].map(variableOf), ...otherVariables];
      this.#unknown('environment variable', variable, variable, variables);
      return;
    }
    // Files of systemd list variables with nothing behind the sign to say "not set".
    if (text !== '') this.#take(name, text, variable);
  }

  takeList(list: string, sloppy: boolean): void {
    const items = splitOptionList(list);
    if (items === undefined) {
      this.#faults.push('-o has a quotation mark that is not closed');
      return;
    }
    for (const item of items) this.#takeItem(item, sloppy);
  }

  #takeItem(item: string, sloppy: boolean): void {
    const equals = item.indexOf('=');
    const word = equals < 0 ? item : item.slice(0, equals);
    const text = equals < 0 ? undefined : item.slice(equals + 1);
    if (item === 'ro' || item === 'rw') {
      this.#set('readOnly', item === 'ro', `-o ${item}`);
      return;
    }
    if (isMountWord(item)) return;
    const refusal = refusedWords.get(item);
    if (refusal !== undefined) {
      this.#faults.push(`-o ${item}: ${refusal}`);
      return;
    }
    // FUSE's own options are written with underscores: allow_other.
    const name = word.replaceAll('_', '-');
    if (names.has(name)) {
      this.#take(name, text, `-o ${name}`);
    } else if (!sloppy) {
      this.#unknown('option', `-o ${word}`, name, [...names.keys(), ...mountWords, 'ro', 'rw']);
    }
  }

  takeOption({ name, text }: WrittenOption): void {
    const known = names.get(name);
    if (known === undefined) {
      const dashed = `${name.length === 1 ? '-' : '--'}${name}`;
      this.#unknown('option', dashed, name, names.keys());
    } else if (text !== undefined && isSwitch(optionTable[known.key])) {
      this.#faults.push(`--${name} takes no value; write --${name} or --${oppositeName(name)}`);
    } else {
      this.#take(name, text, `--${name}`);
    }
  }

  /** `text` undefined: the bare name. */
  #take(name: string, text: string | undefined, origin: string): void {
    const known = names.get(name);
    if (known === undefined) return;
    const row: OptionSpec<unknown> = optionTable[known.key];
    try {
      if (isSwitch(row)) {
        const on = text === undefined || parseFlag(text);
        this.#set(known.key, on !== known.negated, origin);
      } else if (text === undefined || text === '') {
        this.#faults.push(`${origin} needs a value (${row.value ?? ''}): ${row.help}`);
      } else {
        const value = row.parse(text);
        const isMore = row.repeats === true && this.#origins.get(known.key) === origin;
        const before = isMore ? this.#given.get(known.key) : undefined;
        this.#set(known.key, before === undefined ? value : [before, value].flat(), origin);
      }
    } catch (error) {
      if (!(error instanceof OptionValueError)) throw error;
      this.#faults.push(`${origin}: ${error.message}`);
    }
  }

  #set(key: OptionKey, value: unknown, origin: string): void {
    this.#given.set(key, value);
    this.#origins.set(key, origin);
  }

  #unknown(what: string, shown: string, name: string, candidates: Iterable<string>): void {
    const meant = nearest(name, candidates);
    let cure = 's3jail mount --help lists all';
    if (/secret|access[-_]?key|passw|token|credential/i.test(name)) {
      cure = 'credentials come from the variables and files of the AWS CLI, never from options';
    } else if (meant !== undefined) {
      const prefix = /^(-o |--?)/.exec(shown)?.[0] ?? '';
      cure = `did you mean ${prefix === '-' ? '--' : prefix}${meant}?`;
    }
    this.#faults.push(`there is no ${what} ${shown}; ${cure}`);
  }

  finish(): MountOptions {
    const options: Partial<Record<OptionKey, unknown>> = Object.fromEntries(this.#given);
    for (const [property, row] of Object.entries(optionTable)) {
      const key = property as OptionKey;
      if (this.#given.has(key)) continue;
      options[key] = row.byDefault(options as Partial<MountOptions>, this.#ambient);
    }
    const complete = Object.freeze(options as MountOptions);
    const faults = [...this.#faults, ...contradictions(complete, this.#origins, this.#ambient)];
    if (faults.length > 0) throw new UsageError(faults);
    return complete;
  }
}

/**
 * The items of an `-o` list. A comma inside a value is written in quotes, `name="a,b"`, as
 * mount(8) has it, or escaped, `name=a\,b`.
 * @returns undefined where a quotation mark is not closed
 */
export function splitOptionList(list: string): string[] | undefined {
  const items: string[] = [];
  let item = '';
  let quoted = false;
  for (let index = 0; index < list.length; index++) {
    const letter = list.charAt(index);
    if (letter === '\\' && /[,"\\]/.test(list.charAt(index + 1))) {
      item += list.charAt(++index);
    } else if (letter === '"') {
      quoted = !quoted;
    } else if (letter === ',' && !quoted) {
      items.push(item);
      item = '';
    } else {
      item += letter;
    }
  }
  if (quoted) return undefined;
  return [...items, item].filter((text) => text !== '');
}
