/**
 * Many users on one mount, some of them connected at the same time, each doing a bit of everything: what
 * comes back and what S3 holds is compared, and what it takes is measured. scripts/soak-homes makes it large.
 */
import '../support/own-users.js';
import { randomBytes, randomInt } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { clientOptions, type Sshd } from '../../lib/demo/sshd.js';
import { askOne } from '../../lib/status/ask.js';
import { inParallel, sha256 } from '../support/bucket.js';
import { endingOf, type Ending } from '../support/command.js';
import { addUser, mountHomes, startHomesSshd, stepsAs } from '../support/homes.js';
import { peakMemory } from '../support/peak-memory.js';
import { makeDirectory } from '../support/place.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

const userCount = Number(process.env['S3JAIL_HOMES_USERS'] ?? 200);
const sessionCount = Number(process.env['S3JAIL_HOMES_SESSIONS'] ?? 10);
const roundCount = Number(process.env['S3JAIL_HOMES_ROUNDS'] ?? 2);
/** What the issue of 2,000 users with 200 sessions allows. */
const memoryMost = 300 * mebibyte;
/** Users who log in at the same moment: sshd's MaxStartups drops connections above. */
const loginsAtOnce = 10;

t.setTimeout(3_600_000);

const sizes = [0, 1, 3000, 70_000, 400_000, 9_000_000];

/** One connection of a user, which stays until it is told to end. */
class Connection {
  readonly user: string;
  readonly local: string;
  readonly #sftp: ReturnType<typeof spawn>;
  readonly #ending: Promise<Ending>;
  #said = '';

  constructor(user: string, local: string, sshd: Sshd) {
    this.user = user;
    this.local = local;
    const args = ['-b', '-', '-P', String(sshd.port), ...clientOptions(sshd), `${user}@127.0.0.1`];
    this.#sftp = spawn('sftp', args, { cwd: local, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#ending = endingOf(this.#sftp);
    this.#sftp.stdout?.on('data', (text: string) => (this.#said += text));
  }

  /** Has sftp(1) run these lines, the first of which that fails ends the connection. */
  async run(...lines: string[]): Promise<void> {
    const mark = `mark-${randomInt(2 ** 40)}`;
    this.#sftp.stdin?.write(`${lines.join('\n')}\n!echo ${mark}\n`);
    let ended: Ending | undefined;
    void this.#ending.then((ending) => (ended = ending));
    await until(() => new RegExp(`^${mark}$`, 'm').test(this.#said) || ended !== undefined);
    if (ended !== undefined) throw new Error(`${this.user}: ${ended.stderr}`);
  }

  async end(): Promise<number | null> {
    this.#sftp.stdin?.end();
    return (await this.#ending).status;
  }
}

/** Puts under another name, renames, lists, gets back, makes and removes. @returns what stays, by name */
async function work(connection: Connection, round: number): Promise<Map<string, string>> {
  const { local } = connection;
  const body = randomBytes(sizes[randomInt(sizes.length)] ?? 0);
  await writeFile(join(local, 'up'), body);
  await connection.run(
    ...[`mkdir d${round}`, `put up d${round}/part`, `rename d${round}/part d${round}/f`],
    ...['put up again', 'ls -l', `ls -l d${round}`, `get d${round}/f down`, 'rm again'],
  );
  const hash = sha256(body);
  if (sha256(await readFile(join(local, 'down'))) !== hash) {
    throw new Error(`${connection.user}: what came back is not what was sent`);
  }
  return new Map([[`d${round}/f`, hash]]);
}

void t.test(`${userCount} users, ${sessionCount} of them connected`, async (t) => {
  for (let index = 0; index < userCount; index++) addUser(`user-${index}`, 10_000 + index);
  const { server, mounted, path, place } = await mountHomes(t, { isClosed: true });
  const sshd = await startHomesSshd(t, mounted.mountPoint, place);
  const users = Array.from({ length: userCount }, (_, index) => `user-${index}`);
  await inParallel(16, users, (user) => server.bucket.put(`users/${user}/kept`, 'x'));
  const idle = await peakMemory(mounted.child.pid);
  const names = (await stepsAs(0, [['readdir', path()]]))[0] as string[];
  t.equal(names.length, userCount, 'root lists them all');

  const local = await makeDirectory(place, 'local');
  const connections: Connection[] = [];
  await inParallel(loginsAtOnce, users.slice(0, sessionCount), async (user) => {
    const directory = join(local, user);
    await mkdir(directory, { mode: 0o700 });
    const connection = new Connection(user, directory, sshd);
    connections.push(connection);
    await connection.run('ls -l');
  });
  const expected = new Map<string, string>();
  await Promise.all(
    connections.map(async (connection) => {
      for (let round = 0; round < roundCount; round++) {
        for (const [name, hash] of await work(connection, round)) {
          expected.set(`users/${connection.user}/${name}`, hash);
        }
      }
    }),
  );
  await newcomer(t, sshd, local);
  for (const connection of connections) t.equal(await connection.end(), 0, connection.user);

  const wrong: string[] = [];
  for (const [key, hash] of expected)
    if ((await server.bucket.sha256(key)) !== hash) wrong.push(key);
  t.same(wrong, [], `${expected.size} objects are what was sent`);
  const report = async () => (await askOne(mounted.mountPoint))?.report;
  await until(async () => (await report())?.handles === 0);
  const { count = 0, used = [] } = (await report())?.homes ?? {};
  t.equal(count, sessionCount + 1, 'homes that nobody uses are not in use');
  t.ok(used.every(({ name }) => name === 'newcomer' || Number(name.slice(5)) < sessionCount));
  const peak = await peakMemory(mounted.child.pid);
  const mib = (bytes: number): string => `${Math.round(bytes / mebibyte)} MiB`;
  t.comment(`memory of the mount: ${mib(idle)} idle, ${mib(peak)} at most`);
  t.ok(peak < memoryMost, mib(peak));
});

/** From useradd(8) to a session that works, while all others work too. */
async function newcomer(t: Test, sshd: Sshd, local: string): Promise<void> {
  const directory = join(local, 'newcomer');
  await mkdir(directory, { mode: 0o700 });
  const addedMs = performance.now();
  addUser('newcomer', 9999);
  await until(async () => {
    const connection = new Connection('newcomer', directory, sshd);
    try {
      await connection.run('ls -l', 'put /etc/hostname name');
      return (await connection.end()) === 0;
    } catch {
      return false;
    }
  });
  t.pass(`a session works ${Math.round(performance.now() - addedMs)} ms after useradd`);
}
