/**
 * The same work by s3jail with each driver, by the peers found here and by the bare SDK, on one S3
 * endpoint, in turns; see scripts/bench for the options.
 */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { makeAccount } from '../../lib/demo/account.js';
import { detachMounts } from '../../lib/demo/mount-process.js';
import { startSshd, type Sshd } from '../../lib/demo/sshd.js';
import { TakeDown } from '../../lib/demo/take-down.js';
import { messageOf } from '../../lib/host/failure.js';
import { StopSignals } from '../../lib/mount/stop-signals.js';
import { makeDirectory } from '../support/place.js';
import { mountPointBelow, type Contestant } from './contestants.js';
import { startLink, type Link, type Traffic } from './link.js';
import { measure, measureFloor, prepareScratch, type Measured, type Stage } from './measure.js';
import { readOptions, type BenchOptions } from './options.js';
import { plot } from './plot.js';
import {
  floorName,
  groupsOf,
  keepResults,
  markdown,
  shown,
  type Report,
  type Result,
} from './results.js';
import { rows, streamDelaysMs, type Row } from './rows.js';
import { Storage, type Place } from './storage.js';
import type { Usage } from './usage.js';

/** Who takes longer than that, and three times as long as the first, is measured once. */
const slowSeconds = 5;

/** A contestant at one row and delay, over all rounds. */
class Entrant {
  readonly seconds: number[] = [];
  readonly #usage: Usage[] = [];
  #traffic: Traffic | undefined;
  #isOut = false;
  #isOver = false;

  constructor(
    readonly name: string,
    readonly measure: (round: number) => Promise<Measured>,
  ) {}

  async run(round: number, first: Entrant | undefined): Promise<void> {
    const [took = 0] = this.seconds;
    const [base = 0] = first?.seconds ?? [];
    if (this.#isOut || (took > slowSeconds && took > 3 * base)) return;
    try {
      const { seconds, traffic, usage } = await this.measure(round);
      this.#traffic = traffic;
      this.#usage.push(usage);
      this.#isOver = this.#isOut = seconds === undefined;
      if (seconds !== undefined) this.seconds.push(seconds);
      tell(`  ${this.name}: ${seconds === undefined ? 'given up' : `${shown(seconds)} s`}`);
    } catch (error) {
      // What a contestant cannot do is a result too.
      this.#isOut = true;
      this.seconds.length = this.#usage.length = 0;
      tell(`  ${this.name}: ${messageOf(error).split('\n').slice(0, 3).join('; ')}`);
    }
  }

  result({ limitMs }: BenchOptions): Pick<Result, 'seconds' | 'limit' | 'traffic' | 'usage'> {
    const { seconds } = this;
    return {
      ...{ seconds, traffic: this.#traffic, usage: this.#usage },
      ...(this.#isOver ? { limit: limitMs / 1000 } : {}),
    };
  }
}

async function benchRow(
  stage: Stage,
  { row, link, delayMs }: { row: Row; link: Link; delayMs: number },
  options: BenchOptions,
): Promise<Result[]> {
  const nameOf = (who: string, round: number): string =>
    `new-${row.name}-${delayMs}-${round}-${who.replaceAll(' ', '-')}`;
  const entrants = options.contestants
    .filter(({ serves }) => row.isOverSftp === true || serves !== 'sftp alone')
    .map(
      (contestant) =>
        new Entrant(contestant.name, (round) =>
          measure(stage, link, { contestant, row, name: nameOf(contestant.name, round) }),
        ),
    );
  const { floor: task } = row;
  if (task !== undefined && options.hasFloor) {
    const floor = (round: number): Promise<Measured> =>
      measureFloor(stage, link, { task, row, name: nameOf('floor', round) });
    entrants.push(new Entrant(floorName, floor));
  }
  for (let round = 0; round < options.rounds; round++) {
    tell(`${row.name}, ${delayMs} ms, round ${round + 1}`);
    for (const entrant of entrants) await entrant.run(round, entrants[0]);
  }
  return entrants.map((entrant) => ({
    ...{ row: row.name, title: row.title(stage.sizes), delayMs, contestant: entrant.name },
    ...entrant.result(options),
  }));
}

/** Those that can run here; the others are named. */
function presentOf(contestants: readonly Contestant[]): Contestant[] {
  return contestants.filter((contestant) => {
    const isHere = contestant.isHere();
    if (!isHere) tell(`left out: ${contestant.name}, which is not on PATH`);
    return isHere;
  });
}

async function bench(stage: Stage, options: BenchOptions): Promise<void> {
  const results: Result[] = [];
  const { storage, sizes } = stage;
  for (const row of options.rows) {
    await storage.provide(row.needs?.(sizes) ?? []);
    for (const delayMs of options.delaysMs ?? row.delaysMs ?? streamDelaysMs) {
      const { connectionRate } = options;
      const link = await startLink({ target: storage.place.url, delayMs, connectionRate });
      try {
        results.push(...(await benchRow(stage, { row, link, delayMs }, options)));
      } finally {
        await link.close();
      }
    }
    // Row by row: a run that is stopped has not been in vain.
    await keep(results, options);
  }
  await publish(results, options);
}

/** The endpoint that the environment names, or the embedded one. */
async function openStorage({ objects }: BenchOptions): Promise<Storage> {
  const { S3JAIL_BENCH_URL: url, S3JAIL_BENCH_BUCKET: bucket = 's3jail-bench' } = process.env;
  const pids = process.env['S3JAIL_BENCH_PIDS']?.split(' ').map(Number) ?? [];
  if (url === undefined) return await Storage.embedded(objects);
  const place: Place = {
    ...{ url, bucket },
    accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
  };
  return await Storage.at(place, pids);
}

async function setUp(options: BenchOptions, takeDown: TakeDown): Promise<Stage> {
  // Where sshd takes its keys from.
  const scratch = await mkdtemp('/var/lib/s3jail-bench-');
  await chmod(scratch, 0o755);
  takeDown.add(`remove ${scratch}`, async () => {
    await detachMounts(scratch);
    await rm(scratch, { recursive: true });
  });
  await prepareScratch(scratch, options.sizes);
  const account = await makeAccount('s3jail-bench');
  takeDown.add(`remove the user ${account.name}`, () => account.remove());
  const startServer = async (name: string, chroot?: { chrootDirectory: string }): Promise<Sshd> => {
    const directory = await makeDirectory(scratch, name);
    const settings = {
      ...{ directory, user: account.name, ...chroot },
      server: 'internal',
    } as const;
    const sshd = await startSshd(settings);
    takeDown.add(`stop the sshd of ${name}`, () => sshd.stop());
    return sshd;
  };
  const sshd = await startServer('ssh');
  const closed = await makeDirectory(scratch, 'closed');
  await chmod(closed, 0o700);
  const jail = await startServer('jail', { chrootDirectory: mountPointBelow(closed) });
  const storage = await openStorage(options);
  takeDown.add('stop the endpoint', () => storage.close());
  const { sizes, limitMs } = options;
  return { storage, scratch, closed, account, sshd, jail, sizes, limitMs };
}

function captionOf({ rounds, connectionRate }: BenchOptions): string {
  const processor = cpus()[0]?.model.trim() ?? 'an unknown processor';
  const endpoint = process.env['S3JAIL_BENCH_NAME'] ?? 'the embedded endpoint';
  const date = new Date().toISOString().slice(0, 10);
  const rate = connectionRate > 0 ? `${connectionRate / 1e6} MB/s` : 'no cap';
  return (
    `${date}, ${cpus().length} × ${processor}, Node.js ${process.versions.node}; ` +
    `${endpoint}, ${rate} for each connection; ` +
    `medians of ${rounds}, one where it took more than ${slowSeconds} s and three times as long as the first.`
  );
}

async function keep(results: Result[], options: BenchOptions): Promise<Report> {
  const report = { caption: captionOf(options), results };
  return options.results === undefined ? report : await keepResults(options.results, report);
}

async function publish(results: Result[], options: BenchOptions): Promise<void> {
  const report = await keep(results, options);
  const groups = groupsOf(
    report.results,
    rows.map(({ name }) => name),
  );
  const text = markdown(report, groups);
  process.stdout.write(text);
  if (options.markdown !== undefined) await writeFile(options.markdown, text);
  if (options.svg !== undefined) await writeFile(options.svg, plot(report, groups));
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function main(): Promise<void> {
  const given = readOptions(process.argv.slice(2));
  const options = { ...given, contestants: presentOf(given.contestants) };
  const takeDown = new TakeDown();
  const signals = new StopSignals();
  try {
    const work = async (): Promise<void> => bench(await setUp(options, takeDown), options);
    await signals.unlessStopped(work(), (by) => new Error(`stopped by ${by}`));
  } finally {
    for (const failure of await takeDown.run()) tell(failure);
  }
}

try {
  await main();
} catch (error) {
  tell(`bench: ${messageOf(error)}`);
  process.exitCode = 1;
}
// What was under way when it was stopped is not waited for.
process.exit();
