/**
 * Many users on one bucket, each with a mount, and many sessions at a time of all kinds of clients,
 * some of which vanish. In the end S3 holds exactly what they were told is stored, and the mounts hold
 * nothing. scripts/soak-sessions makes it large and long.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Account } from '../../lib/demo/account.js';
import { askOne } from '../../lib/status/ask.js';
import { inParallel } from '../support/bucket.js';
import { jailUser, type JailedUser } from '../support/jail.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { useServer, type TestServer } from '../support/servers.js';
import { doRound, sessionKinds, type Left, type Session } from '../support/session-work.js';
import { until } from '../support/until.js';

const userCount = Number(process.env['S3JAIL_SESSION_USERS'] ?? 3);
const sessionCount = Number(process.env['S3JAIL_SESSIONS'] ?? 6);
/** without it each session does two rounds */
const seconds = Number(process.env['S3JAIL_SESSION_SECONDS'] ?? 0);

t.setTimeout(900_000);

interface User extends JailedUser {
  readonly prefix: string;
}

void t.test(`${sessionCount} sessions of ${userCount} users at a time`, async (t) => {
  const place = await makePlace(t);
  const server = await useServer(t, 'embedded');
  const users: User[] = [];
  for (let number = 0; number < userCount; number++) {
    users.push(await makeUser(t, server, join(place, `user-${number}`)));
  }
  const local = await makeDirectory(place, 'local');
  const deadline = Date.now() + seconds * 1000;
  const expected = new Map<string, string>();
  await Promise.all(
    Array.from({ length: sessionCount }, async (_, index) => {
      const user = users[index % users.length];
      const kind = sessionKinds[index % sessionKinds.length];
      if (user === undefined || kind === undefined) throw new Error('no users');
      const name = `s${index}`;
      const session: Session = { ...user, kind, name, local: join(local, name) };
      const left: Left = new Map();
      let round = 0;
      // What fails is a failure of its own; the other sessions go on.
      try {
        while (round < 2 || Date.now() < deadline) await doRound(session, round++, left);
        t.pass(`${kind} ${name}: ${round} rounds`);
      } catch (error) {
        t.fail(error instanceof Error ? error.message : String(error));
      }
      for (const [file, hash] of left) {
        const separator = file.startsWith('-') ? '' : '/';
        expected.set(`${user.prefix}${name}${separator}${file}`, hash);
      }
    }),
  );
  for (const user of users) await settled(t, user);
  await compareBucket(t, server, expected);
});

async function makeUser(t: Test, server: TestServer, place: string): Promise<User> {
  const prefix = (account: Account) => `home/${account.name}/`;
  const options = ['--memory-limit', '64MiB', '--temp-limit', '256MiB'];
  const user = await jailUser(t, { server, driver: 'kernel', prefix, options, place });
  return { ...user, prefix: prefix(user.account) };
}

/** Nothing is held any more: no handle, no bytes on their way, no temporary file. */
async function settled(t: Test, { mounted, account }: User): Promise<void> {
  // sshd notices a moment later that a client is gone.
  await until(async () => ((await askOne(mounted.mountPoint))?.report?.handles ?? 0) === 0);
  const report = (await askOne(mounted.mountPoint))?.report;
  t.match(
    report,
    { handles: 0, uploads: [], temp: { bytes: 0 }, memory: { upload: 0, download: 0 } },
    `${account.name}: nothing is held`,
  );
  t.ok((report?.temp.peak ?? Infinity) <= (report?.temp.limit ?? 0), 'the limit was kept');
  const files = readdirSync(mounted.tempDirectory, { recursive: true, withFileTypes: true });
  const left = files.filter((entry) => entry.isFile() && !/\.(uploads|lock)$/.test(entry.name));
  t.strictSame(
    left.map(({ name }) => name),
    [],
    'no temporary file is left',
  );
}

async function compareBucket(
  t: Test,
  { bucket }: TestServer,
  expected: ReadonlyMap<string, string>,
): Promise<void> {
  t.strictSame(await bucket.uploads(), [], 'no multipart upload is left');
  const keys = (await bucket.keys()).filter((key) => !key.endsWith('/'));
  t.strictSame(keys, [...expected.keys()].sort(), 'exactly what was stored is there');
  const there = new Set(keys);
  const wrong: string[] = [];
  await inParallel(8, [...expected], async ([key, hash]) => {
    if (there.has(key) && (await bucket.sha256(key)) !== hash) wrong.push(key);
  });
  t.strictSame(wrong, [], 'byte for byte');
}
