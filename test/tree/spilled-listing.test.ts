/**
 * A large directory is listed whole, with attributes, by one LIST for each thousand names, and the
 * memory of the mount does not grow with it. S3JAIL_LISTING_ENTRIES says how large; scripts/soak-listing
 * says a million, which is far more than a listing may take in memory (test/tree/listings.test.ts sees
 * to what then happens).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { peakMemory } from '../support/peak-memory.js';
import { makeDirectory, makePlace } from '../support/place.js';
import { mebibyte } from '../support/sizes.js';
import { mountVast, startVastDirectory, vastName, vastSize } from '../support/vast-directory.js';

const entries = Number(process.env['S3JAIL_LISTING_ENTRIES'] ?? 20_000);
/** Node.js itself, the SDK, what a listing may take before it goes to disk, what is kept of names that
 * were looked up, by the tree and by the driver, and what V8 has not collected yet. */
const memoryFloor = 640 * mebibyte;

/** Lists as sftp-server does: each name is followed by an lstat(2) of it. Prints count and bytes. */
const lister = `
my ($top) = @ARGV;
opendir(my $directory, $top) or die "opendir: $!";
my ($count, $bytes, $last) = (0, 0, '');
while (defined(my $name = readdir $directory)) {
  next if $name =~ /^\\.{1,2}$/;
  die "$name after $last" if $name le $last;
  $last = $name;
  my @stat = lstat "$top/$name" or die "lstat $name: $!";
  $count++;
  $bytes += $stat[7];
}
print "$count $bytes $last";
`;

void t.test(`a directory of ${entries} entries`, async (t) => {
  t.setTimeout(300_000 + entries * 2);
  const vast = await startVastDirectory(t, entries);
  const place = await makePlace(t);
  const mountPoint = await makeDirectory(place, 'mnt');
  const temp = await makeDirectory(place, 'temp');
  const mount = await mountVast(t, vast, { mountPoint, temp });
  const before = await peakMemory(mount.child.pid);
  const listing = spawn('perl', ['-e', lister, join(mountPoint, 'vast')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(listing, 'exit');
  const found = await text(listing.stdout);
  await exited;
  const bytes = (vastSize(1) * (entries * (entries - 1))) / 2;
  t.equal(found, `${entries} ${bytes} ${vastName(entries - 1)}`, 'each name once, with its size');
  t.equal(vast.pages, Math.ceil(entries / 1000));
  t.equal(vast.heads, 0);
  const after = await peakMemory(mount.child.pid);
  t.comment(`peak of memory: ${toMib(before)} MiB before, ${toMib(after)} MiB after`);
  t.ok(after < memoryFloor, 'memory does not grow with the directory');
});

function toMib(bytes: number): number {
  return Math.round(bytes / mebibyte);
}
