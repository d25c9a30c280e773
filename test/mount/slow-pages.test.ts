/**
 * A long directory whose pages come slowly, listed as sftp-server and `ls -la` do it: each line with an
 * lstat of its name, and for sshd's time zone an open of `etc/localtime` in the chroot. By the time that all
 * pages have come the first are older than `--metadata-ttl`. Counted is what the kernel asks for.
 */
import { chmod } from 'node:fs/promises';
import t from 'tap';
import { runCommand } from '../../lib/demo/child.js';
import { run, s3jail } from '../support/command.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { mountVast, startVastDirectory } from '../support/vast-directory.js';

const entries = Number(process.env['S3JAIL_LISTING_ENTRIES'] ?? 20_000);
/** Together more than the TTL of 5 seconds, which the reading itself must not take. */
const pageMs = entries > 50_000 ? 100 : 300;

const lister = `
use strict;
my ($mount) = @ARGV;
opendir(my $directory, "$mount/vast") or die "opendir: $!";
my $count = 0;
while (defined(my $name = readdir $directory)) {
  next if $name =~ /^\\.{1,2}$/;
  lstat "$mount/vast/$name" or die "lstat $name: $!";
  open(my $zone, '<', "$mount/etc/localtime") and die "there is a time zone";
  $count++;
}
print $count;
`;

async function counters(mountPoint: string): Promise<Readonly<Record<string, number>>> {
  const { stdout } = await run(s3jail, ['status', mountPoint, '--json']);
  const [{ report }] = JSON.parse(stdout) as [
    { report: { driver: { counters: Record<string, number> } } },
  ];
  return report.driver.counters;
}

void t.test(`a listing of ${entries} costs no kernel request a line`, async (t) => {
  t.setTimeout(300_000);
  const vast = await startVastDirectory(t, entries, pageMs);
  const place = await makePlace(t);
  const outer = await makeDirectory(place, 'sftp');
  await chmod(outer, 0o700);
  const mountPoint = await makeDirectory(outer, 'mnt');
  const temp = await makeDirectory(place, 'temp');
  await mountVast(t, vast, { mountPoint, temp, options: ['--uid', 'daemon'] });
  t.match(await runCommand('perl', ['-e', lister, mountPoint]), {
    status: 0,
    stdout: String(entries),
  });
  t.equal(vast.pages, Math.ceil(entries / 1000), 'the pages of the listing alone');
  const {
    LOOKUP = 0,
    GETATTR = 0,
    OPEN = 0,
    READDIR = 0,
    READDIRPLUS = 0,
  } = await counters(mountPoint);
  t.comment({ LOOKUP, GETATTR, OPEN, READDIR, READDIRPLUS });
  t.ok(LOOKUP + GETATTR + OPEN < 30, `${LOOKUP} LOOKUP, ${GETATTR} GETATTR, ${OPEN} OPEN`);
  t.ok(READDIRPLUS > 1 && READDIR === 0, `${READDIR} READDIR`);
});
