/** Names, directories and records that a mount keeps on this machine. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { mountName } from '../../lib/host/mount-name.js';
import { isOurs, ownerOf, parseMountInfo } from '../../lib/host/mount-table.js';
import { parseChildMessage } from '../../lib/mount/parent-channel.js';
import { makePrivateDirectory } from '../../lib/host/private-directory.js';
import { isAlive, ownIdentity, userOf } from '../../lib/host/process-identity.js';
import { makeTempDirectory } from '../../lib/host/temp-directory.js';

function makeBase(t: Test): string {
  const base = mkdtempSync(join(tmpdir(), 's3jail-place-'));
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  return base;
}

void t.test('a mount point is one file name, readable, and no two share it', (t) => {
  t.equal(mountName('/srv/sftp/alice'), 'srv-sftp-alice');
  t.equal(mountName('/'), '-');
  t.equal(mountName('/srv/a-b'), 'srv-a\\x2db');
  t.equal(mountName('/srv/.hidden'), 'srv-.hidden');
  t.equal(mountName('/.hidden'), '\\x2ehidden');
  const names = fc.array(fc.stringMatching(/^[^/\0]{1,12}$/), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(names, names, (a, b) => {
      const [left, right] = [`/${a.join('/')}`, `/${b.join('/')}`];
      t.equal(mountName(left) === mountName(right), left === right);
    }),
  );
  const long = mountName(`/${'x'.repeat(4000)}`);
  t.ok(Buffer.byteLength(long) < 200);
  t.not(mountName(`/${'x'.repeat(4000)}`), mountName(`/${'x'.repeat(4001)}`));
  t.end();
});

void t.test('the mount table is read as the kernel writes it', (t) => {
  const text = [
    '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue',
    '40 35 0:50 / /srv/with\\040blank rw,nosuid,nodev shared:7 master:2 - fuse.s3jail s3://b/a\\134b/ rw,user_id=33,group_id=33',
    '41 35 0:51 / /ä\\040ö\\011\\012 rw shared:1 master:2 - fuse.s3jail s3://b/\\043 rw',
    'not a line',
    '',
  ].join('\n');
  const [other, ours, odd, ...rest] = parseMountInfo(text);
  t.same(rest, []);
  t.match(other, { mountPoint: '/mnt2', type: 'ext3', source: '/dev/root' });
  t.match(ours, { mountPoint: '/srv/with blank', type: 'fuse.s3jail', source: 's3://b/a\\b/' });
  t.match(odd, { device: '0:51', mountPoint: '/ä ö\t\n', source: 's3://b/#' });
  t.notOk(isOurs(other!));
  t.ok(isOurs(ours!));
  t.equal(ownerOf(ours!), 33);
  t.equal(ownerOf(other!), undefined);
  t.notOk(isOurs({ ...ours!, source: 'user@host:' }), 'sshfs is not ours');
  t.end();
});

void t.test('a private directory is made closed, and one that could be a trap is refused', (t) => {
  const base = makeBase(t);
  const path = join(base, 'own');
  makePrivateDirectory(path);
  t.equal(statSync(path).mode & 0o777, 0o700);
  makePrivateDirectory(path);
  const refused = { exitCode: 2, message: /mode 0700/ };
  chmodSync(path, 0o750);
  t.throws(() => makePrivateDirectory(path), refused, 'open to the group');
  t.equal(statSync(path).mode & 0o777, 0o750, 'and left as it was');
  const link = join(base, 'link');
  mkdirSync(join(base, 'target'), { mode: 0o700 });
  symlinkSync(join(base, 'target'), link);
  t.throws(() => makePrivateDirectory(link), refused, 'a symbolic link');
  const foreign = join(base, 'foreign');
  mkdirSync(foreign, { mode: 0o700 });
  if (process.geteuid?.() === 0) {
    chownSync(foreign, 1, 1);
    t.throws(() => makePrivateDirectory(foreign), refused, 'somebody else’s');
  }
  t.throws(() => makePrivateDirectory(join(base, 'none', 'below')), { message: /cannot make/ });
  t.end();
});

void t.test(
  'a temp directory goes with its mount, or with the next mount on the same place',
  (t) => {
    const base = join(makeBase(t), 'made');
    const owner = { mountPoint: '/srv/a', scope: 'aws s3://bucket/a/' };
    const first = makeTempDirectory(base, owner);
    t.equal(statSync(first.path).mode & 0o777, 0o700);
    // A process that is gone: no process has the largest id.
    const dead = first.path.replace(/\.\d+\.\d+$/, '.4194304.1');
    const others = dead.replace('srv-a.', 'srv-b.');
    mkdirSync(join(dead, 'file'), { recursive: true });
    mkdirSync(others);
    t.throws(() => makeTempDirectory(base, owner), { exitCode: 2, message: /another mount on/ });
    t.ok(existsSync(first.path), 'that of a living process stays');
    first.remove();
    const second = makeTempDirectory(base, owner);
    t.notOk(existsSync(dead), 'leftovers are removed');
    t.ok(existsSync(others), 'those of another mount are not');
    second.remove();
    t.same(readdirSync(dirname(second.path)), [basename(others)]);
    t.throws(() => makeTempDirectory('/proc/none/deeper', owner), {
      exitCode: 2,
      message: /--temp-dir/,
    });
    t.end();
  },
);

void t.test('a process is told from a later one with its number', (t) => {
  const self = ownIdentity();
  t.ok(isAlive(self));
  t.equal(userOf(self), process.geteuid?.());
  t.notOk(isAlive({ ...self, startTime: '1' }));
  t.notOk(isAlive({ pid: 4194304, startTime: '1' }));
  t.equal(userOf({ pid: 4194304, startTime: '1' }), undefined);
  t.end();
});

void t.test('only well-formed messages of a child are believed', (t) => {
  t.same(parseChildMessage({ kind: 'mounted', notices: [] }), { kind: 'mounted', notices: [] });
  const failed = { kind: 'failed', lines: ['why'], exitCode: 32 };
  t.same(parseChildMessage(failed), failed);
  const bad = [null, 1, 'mounted', {}, { kind: 'mounted' }, { ...failed, exitCode: 0 }];
  for (const value of [...bad, { ...failed, lines: [1] }, { kind: 'other' }]) {
    t.equal(parseChildMessage(value), undefined);
  }
  t.end();
});
