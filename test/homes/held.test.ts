/**
 * `--interrupted resume` in homes on a real mount, with credentials of each home's own: what is held of an
 * upload is its user's, also for the next mount.
 */
import '../support/own-users.js';
import { spawn } from 'node:child_process';
import t from 'tap';
import { sendSignal } from '../../lib/demo/child.js';
import { askOne } from '../../lib/status/ask.js';
import { endingOf } from '../support/command.js';
import { addUser, mountHomesByProxy, stepsAs } from '../support/homes.js';
import { mountForTest } from '../support/mounted.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

t.setTimeout(180_000);

const [alice, bob] = [5001, 5002];
addUser('alice', alice);
addUser('bob', bob);

const size = 12 * mebibyte;
const role = 'arn:aws:iam::123456789012:role/homes';
const scoped = ['--role-arn', role, '--home-credentials', 'scoped'];
const options = ['--interrupted', 'resume', '--part-size', '5MiB'];

/** A process of this user that writes and is killed before it has closed the file. */
async function cutOff(uid: number, path: string): Promise<void> {
  const script = `
    const fs = require('fs');
    fs.writeSync(fs.openSync(process.argv[1], 'w'), Buffer.alloc(${size}, process.argv[2]));
    process.kill(process.pid, 'SIGKILL');`;
  const identity = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
  const command = [process.execPath, '-e', script, path, String(uid)];
  await endingOf(spawn('setpriv', [...identity, ...command], { stdio: 'ignore' }));
}

const signerOf = ({ accessKeyId }: { readonly accessKeyId?: string | undefined }) => accessKeyId;

for (const more of [[], scoped]) {
  const credentials = more.length === 0 ? 'shared' : 'scoped';
  void t.test(`each user goes on with their own upload, ${credentials} credentials`, async (t) => {
    const { server, mounted, path, place, proxy } = await mountHomesByProxy(t, {
      isClosed: false,
      options: [...options, ...more],
    });
    await cutOff(alice, path('alice', 'file'));
    await cutOff(bob, path('bob', 'file'));
    t.same(await server.bucket.keys(), []);
    t.same((await server.bucket.uploads()).sort(), ['users/alice/file', 'users/bob/file']);
    const stat = (home: string) => ['stat', path(home, 'file')] as const;
    t.match(await stepsAs(alice, [stat('alice'), stat('bob')]), [{ size, uid: alice }, 'EACCES']);
    const append = ['appendFile', path('alice', 'file'), 'end'] as const;
    t.same(await stepsAs(bob, [append, ['unlink', path('alice', 'file')]]), ['EACCES', 'EACCES']);

    sendSignal(mounted.child.pid, 'SIGKILL');
    await mounted.child.ended;
    proxy.reset();
    await mountForTest(t, {
      ...{ server, place, mountPoint: mounted.mountPoint, driver: 'kernel', prefix: 'users/' },
      url: proxy.url,
      options: ['--homes', ...options, ...more],
    });
    const heldNow = async () => (await askOne(mounted.mountPoint))?.report?.held;
    await until(async () => (await heldNow()) !== undefined);
    const held = (await heldNow())?.map((each) => each.path);
    t.same(held?.sort(), ['/alice/file', '/bob/file']);
    t.match(await stepsAs(bob, [stat('bob'), append]), [{ size, uid: bob }, 'EACCES']);
    t.same(await stepsAs(alice, [append]), [null]);
    const whole = Buffer.concat([Buffer.alloc(size, String(alice)), Buffer.from('end')]);
    t.ok(whole.equals(await server.bucket.bytes('users/alice/file')));
    t.same(await server.bucket.uploads(), ['users/bob/file'], 'the other waits on');
    t.same(await stepsAs(bob, [['unlink', path('bob', 'file')]]), [null]);
    t.same(await server.bucket.uploads(), []);
    t.same(await server.bucket.keys(), ['users/alice/file']);
    const keysOf = (home: string) =>
      new Set(proxy.log.filter(({ key }) => key.startsWith(`users/${home}/`)).map(signerOf));
    const common = [...keysOf('alice')].filter((key) => keysOf('bob').has(key));
    t.equal(common.length, more.length === 0 ? 1 : 0, 'who signs for a home');
  });
}
