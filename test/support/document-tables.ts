/** Tables of the documents that are made from the program, or from what the tests assert of S3 servers. */
import type { OptionGroup } from '../../lib/options/option-spec.js';
import { optionRows } from '../../lib/options/table.js';
import { hostFamilies } from '../../lib/status/host-metrics.js';
import { deviationsOf, type Deviations, type KeptConditions } from '../suites/store-deviations.js';
import { realServers } from './servers.js';

/** @param heads of the columns */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, heads.map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The options of one group, as help tells of them. */
export function optionsTable(group: OptionGroup): string {
  const rows = optionRows
    .filter((row) => row.group === group)
    .map(({ name, value, help, defaultText }) => {
      const option = value === undefined ? `--${name}` : `--${name} ${value}`;
      return [`\`${option}\``, help.replaceAll('|', '\\|'), defaultText ?? ''];
    });
  return table(['option', 'meaning', 'default'], rows);
}

/** What `s3jail metrics` and, but for the first, `--metrics` serve. */
export function metricsTable(): string {
  const rows = hostFamilies.map(({ name, help }) => [`\`${name}\``, help]);
  return table(['metric', 'what it counts'], rows);
}

const yesNo = (is: boolean): string => (is ? 'yes' : 'no');

function conditions({ absent, etag }: KeptConditions): string {
  if (absent && etag) return 'kept';
  return absent ? 'If-None-Match only' : 'not kept';
}

const nestings: Readonly<Record<Deviations['nesting'], string>> = {
  kept: 'both are there',
  hidden: '`a` hides the other',
  refused: 'the second is refused',
};

/** The questions of the table of servers, and what each server's deviations answer. */
const questions: readonly (readonly [string, (of: Deviations) => string])[] = [
  ['conditions of PutObject', (of) => conditions(of.conditions.put)],
  ['conditions of CompleteMultipartUpload', (of) => conditions(of.conditions.complete)],
  ['conditions of CopyObject', (of) => conditions(of.conditions.copy)],
  ['If-Match of DeleteObject', (of) => (of.deletesAnyway ? 'not kept' : 'kept')],
  ['checksums of whole objects are kept', (of) => yesNo(of.storesChecksums)],
  ['tags of objects', (of) => yesNo(of.tags)],
  ['another storage class', (of) => of.otherClass ?? 'no'],
  ['archive classes', (of) => yesNo(of.archives)],
  ['an object `a` and one below `a/`', (of) => nestings[of.nesting]],
  ['an object `a` and a marker `a/`', (of) => (of.nestsMarkers ? 'both are there' : 'only one')],
  ['markers keep metadata', (of) => yesNo(of.describesMarkers)],
  ['markers keep content', (of) => yesNo(of.fillsMarkers)],
  ['order of a listing of all levels', (of) => (of.listsByFolder ? 'by folder' : 'by key')],
  ['longest name, bytes', (of) => of.longestSegment.toLocaleString('en')],
  ['names refused or changed', (of) => of.lostNames.filter(isPlain).map(shown).join(' ') || 'none'],
];

/** What becomes of markers is told by itself. */
const isPlain = (name: string): boolean => !name.endsWith('/');

function shown(name: string): string {
  const text = JSON.stringify(name).slice(1, -1).replaceAll('\u007f', '\\u007f');
  return `\`${text.replaceAll('\\\\', '\\')}\``;
}

/** What the laws of the store assert of each server. */
export function serversTable(): string {
  const servers = ['embedded', ...realServers] as const;
  const rows = questions.map(([question, answer]) => [
    question,
    ...servers.map((server) => answer(deviationsOf(server))),
  ]);
  const heads = ['AWS (its rules)', 'MinIO', 'versitygw', 'SeaweedFS', 'Garage', 'Ceph 16'];
  return table(['', ...heads], rows);
}
