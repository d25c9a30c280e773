/** The walk along a chroot path, on real directories, as root has them. */
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findChrootFaults } from '../../lib/host/chroot-path.js';

/** Below /var/lib: root's, and closed to others. */
async function place(t: Test): Promise<string> {
  const base = await mkdtemp('/var/lib/s3jail-chroot-');
  t.teardown(() => rm(base, { recursive: true }));
  await chmod(base, 0o755);
  await mkdir(join(base, 'a/b'), { recursive: true });
  return base;
}

void t.test('a path of root alone has no fault', async (t) => {
  const base = await place(t);
  t.strictSame(await findChrootFaults(join(base, 'a/b')), []);
  t.strictSame(await findChrootFaults('/'), []);
});

void t.test('each component that is wrong is named, from the top down', async (t) => {
  const base = await place(t);
  await chmod(join(base, 'a'), 0o775);
  await chown(join(base, 'a/b'), 1, 1);
  const path = join(base, 'a/b');
  const faults = await findChrootFaults(`${path}/`);
  t.match(faults, [
    { component: join(base, 'a'), reason: /mode 0775/, cure: `chmod go-w ${join(base, 'a')}` },
    { component: path, reason: /user 1 instead of root/, cure: `chown root ${path}` },
  ]);
  t.equal(faults.length, 2);
});

void t.test('/tmp is refused although it is sticky', async (t) => {
  t.match(await findChrootFaults('/tmp'), [{ component: '/tmp', reason: /mode 1777/ }]);
});

void t.test('what a symbolic link leads to counts, not the link', async (t) => {
  const base = await place(t);
  await symlink(join(base, 'a'), join(base, 'link'));
  t.strictSame(await findChrootFaults(join(base, 'link/b')), []);
  await chown(join(base, 'a'), 1, 1);
  t.match(await findChrootFaults(join(base, 'link/b')), [{ component: join(base, 'link') }]);
});

void t.test('the walk ends at what is missing or is no directory', async (t) => {
  const base = await place(t);
  await writeFile(join(base, 'file'), '');
  const missing = await findChrootFaults(join(base, 'none/below'));
  t.match(missing, [{ component: join(base, 'none'), reason: 'does not exist' }]);
  t.equal(missing.length, 1);
  const file = await findChrootFaults(join(base, 'file/below'));
  t.match(file, [{ component: join(base, 'file'), reason: 'is not a directory' }]);
  t.match(await findChrootFaults('srv/sftp'), [{ reason: 'does not begin at /' }]);
});
