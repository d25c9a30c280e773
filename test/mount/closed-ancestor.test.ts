/** What a directory above the mount point saves, that only root may enter: counted in the kernel. */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCommand } from '../../lib/demo/child.js';
import { run, s3jail } from '../support/command.js';
import { mountForTest } from '../support/mounted.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { useServer } from '../support/servers.js';

const files = 50;

interface Report {
  readonly access: string;
  readonly driver: { readonly counters: Readonly<Record<string, number>> };
}

async function reportOf(mountPoint: string): Promise<Report> {
  const { stdout } = await run(s3jail, ['status', mountPoint, '--json']);
  const [{ report }] = JSON.parse(stdout) as [{ report: Report }];
  return report;
}

/** @returns kernel requests of a second `ls -la` and twenty stat(2), while all is fresh */
async function count(t: Test, mode: number): Promise<{ asked: number; access: string }> {
  const place = await makePlace(t);
  const server = await useServer(t, 'embedded');
  const keys = Array.from({ length: files }, (_, index) => `file-${index}`);
  await Promise.all(keys.map((key) => server.bucket.put(key, 'x')));
  const outer = await makeDirectory(place, 'sftp');
  await chmod(outer, mode);
  const mountPoint = await makeDirectory(outer, 'mnt');
  const options = ['--uid', 'daemon', '--metadata-ttl', '1h'];
  await mountForTest(t, { server, driver: 'kernel', place, mountPoint, options });
  const look = async (): Promise<void> => {
    t.match(await runCommand('ls', ['-la', mountPoint]), { status: 0 });
    const paths = keys.slice(0, 20).map((key) => join(mountPoint, key));
    t.match(await runCommand('stat', paths), { status: 0 });
  };
  await look();
  const before = await reportOf(mountPoint);
  await look();
  const { access, driver } = await reportOf(mountPoint);
  const { LOOKUP = 0, GETATTR = 0 } = driver.counters;
  const asked = LOOKUP + GETATTR;
  return {
    asked:
      asked - (before.driver.counters['LOOKUP'] ?? 0) - (before.driver.counters['GETATTR'] ?? 0),
    access,
  };
}

void t.test('in the open, each step of each caller is asked for', async (t) => {
  const { asked, access } = await count(t, 0o755);
  t.ok(asked >= files, `${asked} requests`);
  t.match(access, /^uid 1 and root, asked at each step/);
});

void t.test('below a closed directory the kernel answers from memory', async (t) => {
  const { asked, access } = await count(t, 0o700);
  t.ok(asked <= 2, `${asked} requests`);
  t.match(access, /^uid 1 and root; .*\/sftp lets nobody else through$/);
});
