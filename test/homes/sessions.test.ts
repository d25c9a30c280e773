/**
 * Sessions of several users in their homes on one mount, through one sshd that puts each into its own
 * chroot: what S3 holds in the end, what status and the audit log say of whom; and the ends that a mount
 * may come to meanwhile.
 */
import '../support/own-users.js';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runCommand } from '../../lib/demo/child.js';
import { clientOptions } from '../../lib/demo/sshd.js';
import { askOne } from '../../lib/status/ask.js';
import { endingOf } from '../support/command.js';
import { addUser, mountHomes, startHomesSshd } from '../support/homes.js';
import { makeDirectory } from '../support/place.js';
import { useServer } from '../support/servers.js';
import { doRound, sessionKinds, type Left } from '../support/session-work.js';
import { until } from '../support/until.js';
import { killRounds } from '../suites/kill-rounds.js';

t.setTimeout(900_000);

const users = ['alice', 'bob', 'carol'];
for (const [index, name] of [...users, 'idle'].entries()) addUser(name, 5001 + index);

void t.test('sessions of users are kept apart, and told of by user', async (t) => {
  const audit = '/etc/audit.log';
  const options = ['--audit-log', audit, '--memory-limit', '64MiB', '--temp-limit', '256MiB'];
  const { server, mounted, place } = await mountHomes(t, { isClosed: true, options });
  const { mountPoint } = mounted;
  const sshd = await startHomesSshd(t, mountPoint, place);
  const local = await makeDirectory(place, 'local');
  const expected = new Map<string, string>();
  const sessions = users.flatMap((user) => sessionKinds.map((kind) => ({ user, kind })));
  await Promise.all(
    sessions.map(async ({ user, kind }) => {
      const name = `s-${kind}`;
      const account = { name: user };
      const session = { sshd, account, kind, name, local: join(local, `${user}-${kind}`) };
      const left: Left = new Map();
      await doRound(session, 0, left);
      for (const [file, hash] of left) {
        const separator = file.startsWith('-') ? '' : '/';
        expected.set(`users/${user}/${name}${separator}${file}`, hash);
      }
    }),
  );
  const report = async () => (await askOne(mountPoint))?.report;
  await until(async () => (await report())?.handles === 0);
  const keys = (await server.bucket.keys()).filter((key) => !key.endsWith('/'));
  t.strictSame(keys, [...expected.keys()].sort(), 'exactly what was stored is there');
  for (const [key, hash] of expected) t.equal(await server.bucket.sha256(key), hash, key);
  t.strictSame(await server.bucket.uploads(), [], 'no upload of a dropped session is left');

  const { count, used } = (await report())?.homes ?? { count: 0, used: [] };
  t.equal(count, users.length, 'idle homes are in no list');
  for (const home of used) {
    t.ok(users.includes(home.name));
    t.equal(home.handles, 0);
    t.ok(home.bytesRead > 0 && home.bytesWritten > 0 && home.requests > 0, home.name);
  }
  const lines = readFileSync(audit, 'utf8').trimEnd().split('\n');
  for (const line of lines) {
    const { home, path, key, uid } = JSON.parse(line) as Record<string, string | number>;
    t.ok(String(path).startsWith(`/${home}/`) && String(key).startsWith(`users/${home}/`), line);
    t.equal(uid, 5001 + users.indexOf(String(home)));
  }
  t.ok(lines.length >= expected.size);
});

void t.test('a user who was just added has a session that works', async (t) => {
  const { server, mounted, place } = await mountHomes(t, { isClosed: true });
  const sshd = await startHomesSshd(t, mounted.mountPoint, place);
  const put = (user: string) =>
    runCommand(
      'sftp',
      [...['-b', '-', '-P', String(sshd.port)], ...clientOptions(sshd), `${user}@127.0.0.1`],
      {
        cwd: place,
        input: { text: 'put /etc/hostname name\nls -l\npwd\n' },
      },
    );
  t.not((await put('newcomer')).status, 0);
  addUser('newcomer', 5050);
  await until(async () => (await put('newcomer')).status === 0);
  t.same(await server.bucket.keys(), ['users/newcomer/name']);
});

void t.test('what a user has open is stored when the mount ends', async (t) => {
  const { server, mounted, path } = await mountHomes(t, { isClosed: false });
  const identity = ['--reuid', '5001', '--regid', '5001', '--clear-groups', '--'];
  const write = 'exec 3>"$0" && echo text >&3 && echo written >&2 && exec sleep infinity';
  const writer = spawn('setpriv', [...identity, 'sh', '-c', write, path('alice', 'open')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ending = endingOf(writer);
  await new Promise((written) => writer.stderr.once('data', written));
  await mounted.stop();
  writer.kill('SIGKILL');
  await ending;
  t.equal(await server.bucket.text('users/alice/open'), 'text\n');
});

void t.test('kills under load lose nothing in a home', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.comment(`seed ${seed}`);
  await killRounds(t, await useServer(t, 'embedded'), { kills: 3, seed, home: 'alice' });
});
