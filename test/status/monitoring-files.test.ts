/**
 * The files for Prometheus and Grafana in docs/: they ask for what is served, and Prometheus takes them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { hostFamilies } from '../../lib/status/host-metrics.js';
import { checkByPromtool } from '../support/promtool.js';

const docs = join(import.meta.dirname, '../../../docs');
const rules = join(docs, 'prometheus-alerts.yml');
const dashboard = JSON.parse(readFileSync(join(docs, 'grafana-dashboard.json'), 'utf8')) as {
  templating: { list: { name: string; type: string; definition?: string }[] };
  panels: Panel[];
};

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly description: string;
  readonly datasource: unknown;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number };
  readonly targets: readonly { readonly expr: string; readonly datasource: unknown }[];
}

const served = new Set(
  hostFamilies.flatMap(({ name, type }) =>
    type === 'histogram' ? ['bucket', 'sum', 'count'].map((each) => `${name}_${each}`) : [name],
  ),
);

/** Those of Prometheus, of `s3jail metrics`, and of the metrics themselves. */
const labels = [
  ...['instance', 'mount', 'source', 'le', 'version', 'node', 'driver'],
  ...['operation', 'result', 'action', 'status', 'use', 'request'],
];

function checkNames(t: Test, what: string, query: string): void {
  const names = query.match(/\bs3jail_\w+/g) ?? [];
  t.ok(names.length > 0, `${what} asks for metrics`);
  for (const name of names) t.ok(served.has(name), `${what}: ${name} is served`);
  for (const [, list = ''] of query.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
    for (const label of list.split(', ')) t.ok(labels.includes(label), `${what}: ${label}`);
  }
  for (const [, label = ''] of query.matchAll(/[{,](\w+)(?:=|!=|=~|!~)"/g)) {
    t.ok(labels.includes(label), `${what}: ${label}`);
  }
}

void t.test('the alerts ask for metrics that are there', (t) => {
  const queries = [...readFileSync(rules, 'utf8').matchAll(/^ +expr: (.*)$/gm)];
  t.ok(queries.length > 4);
  for (const [, query = ''] of queries) checkNames(t, query, query);
  checkByPromtool(t, 'the rules', ['check', 'rules', rules]);
  t.end();
});

/** A mount that fails in every way beside one that is well, as each way of scraping names them. */
const ways = [
  {
    isHost: true,
    bad: { instance: 'files:9465', mount: '/a' },
    good: { instance: 'files:9465', mount: '/b' },
  },
  { isHost: false, bad: { instance: 'files:9001' }, good: { instance: 'files:9002' } },
] as const;

type Labels = Readonly<Record<string, string>>;

function seriesOf(name: string, of: Labels, values: string): { series: string; values: string } {
  const text = Object.entries(of).map(([label, value]) => `${label}="${value}"`);
  return { series: `${name}{${text.join(',')}}`, values };
}

/** As promtool expects it of an alert after so many minutes. */
function expected(alertname: string, minutes: number, ...alerts: readonly Labels[]) {
  const exp_alerts = alerts.map((each) => ({ exp_labels: each }));
  return { alertname, eval_time: `${minutes}m`, exp_alerts };
}

const minute = { interval: '1m' };

function failing({ bad, good }: (typeof ways)[number]) {
  const operation = { operation: 'flush', result: 'EIO' };
  return {
    ...minute,
    input_series: [
      seriesOf('s3jail_operations_total', { ...bad, ...operation }, '0+60x70'),
      seriesOf('s3jail_operations_total', { ...good, ...operation }, '7x70'),
      seriesOf('s3jail_dirty_bytes', bad, '5x70'),
      seriesOf('s3jail_dirty_bytes', good, '5x70'),
      seriesOf('s3jail_s3_sent_bytes_total', bad, '9x70'),
      seriesOf('s3jail_s3_sent_bytes_total', good, '0+1x70'),
      seriesOf('s3jail_temp_bytes', bad, '95x70'),
      seriesOf('s3jail_temp_limit_bytes', bad, '100x70'),
      seriesOf('s3jail_temp_bytes', good, '95x70'),
      seriesOf('s3jail_temp_limit_bytes', good, '0x70'),
      seriesOf('s3jail_s3_retries_total', bad, '0+120x70'),
      seriesOf('s3jail_s3_retries_total', good, '0+1x70'),
    ],
    alert_rule_test: [
      expected('S3jailOperationsFail', 65, { ...bad, ...operation, severity: 'warning' }),
      expected('S3jailUploadsStuck', 65, { ...bad, severity: 'critical' }),
      expected('S3jailTempSpaceShort', 65, { ...bad, severity: 'warning' }),
      expected('S3jailRetriesRise', 65, { ...bad, severity: 'warning' }),
    ],
  };
}

/** One goes, the other is upgraded. */
function gone({ bad, good }: (typeof ways)[number]) {
  return {
    ...minute,
    input_series: [
      seriesOf('s3jail_build_info', { ...bad, version: '1' }, '1x9 _x120'),
      seriesOf('s3jail_build_info', { ...good, version: '1' }, '1x9 _x120'),
      seriesOf('s3jail_build_info', { ...good, version: '2' }, '_x11 1x110'),
    ],
    alert_rule_test: [
      expected('S3jailMountGone', 9),
      expected('S3jailMountGone', 60, { ...bad, version: '1', severity: 'critical' }),
      expected('S3jailMountGone', 120),
    ],
  };
}

/** The process of one is dead. */
function down({ bad, good }: (typeof ways)[number]) {
  const source = 's3://b/';
  return {
    ...minute,
    input_series: [
      seriesOf('s3jail_build_info', { ...bad, version: '1' }, '1x9 _x120'),
      seriesOf('s3jail_up', { ...bad, source }, '1x9 0x120'),
      seriesOf('s3jail_up', { ...good, source }, '1x130'),
    ],
    alert_rule_test: [
      expected('S3jailMountDown', 9),
      expected('S3jailMountDown', 100, { ...bad, source, severity: 'critical' }),
      expected('S3jailMountGone', 60),
    ],
  };
}

/** A file for promtool, which takes JSON for YAML. */
function fileFor(t: Test, name: string, text: string): string {
  const directory = mkdtempSync('/var/tmp/s3jail-rules-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

void t.test('the alerts fire whichever way mounts are scraped', (t) => {
  // promtool would have each sentence written down again.
  const text = readFileSync(rules, 'utf8').replace(/^ +annotations:\n +summary: .*\n/gm, '');
  t.notMatch(text, /summary/);
  const tests = ways.flatMap((way) => [
    failing(way),
    gone(way),
    ...(way.isHost ? [down(way)] : []),
  ]);
  const content = { rule_files: [fileFor(t, 'rules.yml', text)], evaluation_interval: '1m', tests };
  const file = fileFor(t, 'tests.yml', JSON.stringify(content));
  checkByPromtool(t, 'these alerts', ['test', 'rules', file]);
  t.end();
});

void t.test('the dashboard asks for metrics that are there', (t) => {
  const { panels, templating } = dashboard;
  t.ok(panels.length > 15);
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const datasource = { type: 'prometheus', uid: '${datasource}' };
  for (const { title, description, targets, gridPos, ...panel } of panels) {
    t.ok(description, `${title} says what it shows`);
    t.ok(gridPos.x + gridPos.w <= 24, title);
    for (const each of [panel, ...targets]) t.strictSame(each.datasource, datasource, title);
    for (const { expr } of targets) checkNames(t, title, expr);
  }
  const variables = new Set(templating.list.map(({ name }) => name));
  const used = JSON.stringify(panels).matchAll(/\$\{?([a-z]\w+)/g);
  for (const [, name = ''] of used) t.ok(variables.has(name), `the variable ${name}`);
  for (const { definition } of templating.list) {
    if (definition !== undefined) checkNames(t, definition, definition);
  }
  t.end();
});

void t.test('Prometheus understands what the dashboard asks', (t) => {
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const plain = queries.map((query) =>
    query.replaceAll(/\$__(rate_interval|range)/g, '5m').replaceAll(/\$\w+_price/g, '0.005'),
  );
  const groups = [{ name: 'dashboard', rules: plain.map((expr) => ({ record: 'asked', expr })) }];
  // Rules of one name are what promtool's lint is about, not whether it understands them.
  const file = fileFor(t, 'dashboard.yml', JSON.stringify({ groups }));
  checkByPromtool(t, 'its questions', ['check', 'rules', '--lint=none', file]);
  t.end();
});
