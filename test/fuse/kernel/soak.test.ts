/**
 * 64 callers of mixed operations on one mount, then nothing may be left: no handle, no node, no thread,
 * no descriptor, no memory. A few seconds here; scripts/soak-driver runs it for a minute, which is what
 * it takes for memory to have a plateau to be compared with.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { ServedMount } from '../../support/served-mount.js';

const seconds = Number(process.env['S3JAIL_SOAK_SECONDS'] ?? 4);
const callers = 64;
/** below this time the heap is still growing to its working size */
const plateauSeconds = 30;

/** One caller, in perl because 64 of them start at once: ends with 1 at the first wrong answer. */
const caller = `
use Fcntl; use Time::HiRes 'time';
my ($top, $id, $seconds) = @ARGV;
srand($id);
my $own = "$top/own-$id";
sub must { my ($what, $ok) = @_; $ok or do { print STDERR "caller $id: $what: $!\\n"; exit 1 } }
must('mkdir', mkdir $own);
my $end = time + $seconds;
my $round = 0;
while (time < $end) {
  $round++;
  my ($a, $b) = ("$own/a$round", "$own/b$round");
  my $text = chr(97 + $round % 26) x (1 + int rand 70000);
  must('create', sysopen(my $file, $a, O_RDWR | O_CREAT | O_EXCL));
  must('write', syswrite($file, $text) == length $text);
  must('rename of an open file', rename $a, $b);
  must('truncate', truncate $file, int(length($text) / 2)) if $round % 3 == 0;
  must('close', close $file);
  my $size = $round % 3 == 0 ? int(length($text) / 2) : length $text;
  must('size', -s $b == $size);
  must('open', open(my $in, '<', $b));
  my $got = do { local $/; <$in> } // '';
  must('content', $got eq substr($text, 0, $size));
  must('replace', open(my $out, '>', $b)) if $round % 5 == 0;
  must('unlink', unlink $b);
  must('gone', !-e $b);
  close $in;
  if ($round % 7 == 0) {
    must('opendir', opendir(my $dir, $top));
    my @names = readdir $dir;
    must('listing', @names > 2);
    stat "$top/$_" for @names;
  }
  my $shared = "$top/shared-" . int rand 8;
  if (open(my $file, '>', $shared)) { syswrite $file, 'x'; close $file }
  unlink $shared if $round % 4 == 0;
  -e "$top/none-$round-$id";
}
must('rmdir', rmdir $own);
`;

interface Figures {
  readonly threads: number;
  readonly descriptors: number;
  readonly residentBytes: number;
}

async function figuresOf(served: ServedMount): Promise<Figures> {
  const { residentBytes } = await served.ask('memory');
  const directory = `/proc/${served.process.pid}`;
  const threads = readdirSync(`${directory}/task`).length;
  return { threads, descriptors: readdirSync(`${directory}/fd`).length, residentBytes };
}

/** The highest of ten looks in the middle third of the time: what the work needs. */
async function highestFigures(served: ServedMount): Promise<Figures> {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  await pause((seconds * 1000) / 3);
  let highest: Figures = { threads: 0, descriptors: 0, residentBytes: 0 };
  for (let look = 0; look < 10; look += 1) {
    await pause((seconds * 1000) / 30);
    const now = await figuresOf(served);
    highest = {
      threads: Math.max(highest.threads, now.threads),
      descriptors: Math.max(highest.descriptors, now.descriptors),
      residentBytes: Math.max(highest.residentBytes, now.residentBytes),
    };
  }
  return highest;
}

async function work(served: ServedMount, id: number): Promise<{ status: number; said: string }> {
  const args = ['-e', caller, served.mountPoint, String(id), String(seconds)];
  const child = spawn('perl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [status] = (await once(child, 'close')) as [number];
  return { status, said };
}

void t.test(`${callers} callers for ${seconds} s leave nothing behind`, async (t) => {
  t.setTimeout((seconds + 120) * 1000);
  const served = await ServedMount.start({ poolSize: 24, nodeArguments: ['--expose-gc'] });
  t.teardown(() => served.stop());
  await served.ask('set', { recording: false });
  // Every pool thread exists from the first burst on.
  await Promise.all(
    Array.from({ length: 8 }, (_, id) => served.ask('replace', `/w${id}`, 'x', true)),
  );
  const runs = Promise.all(Array.from({ length: callers }, (_, id) => work(served, id)));
  const plateau = await highestFigures(served);
  for (const { status, said } of await runs)
    t.equal(status, 0, said || 'a caller saw no wrong answer');

  t.equal(await served.ask('handles'), 0, 'handles in the core');
  await served.until(async () => {
    writeFileSync('/proc/sys/vm/drop_caches', '2');
    return (await served.ask('counters'))['nodes'] === 1;
  });
  const idle = { openFiles: 0, openDirectories: 0, inFlight: 0, releasing: 0, nodes: 1 };
  t.match(await served.ask('counters'), idle);
  const after = await figuresOf(served);
  t.ok(after.threads <= plateau.threads, `${after.threads} threads, ${plateau.threads} before`);
  t.ok(after.descriptors <= plateau.descriptors, `${after.descriptors} descriptors`);
  const growth = after.residentBytes / plateau.residentBytes;
  t.comment(
    `resident memory ${(after.residentBytes / 2 ** 20).toFixed(0)} MiB, ${growth.toFixed(2)} of its plateau`,
  );
  if (seconds >= plateauSeconds) t.ok(growth <= 1.1, 'memory stays at its plateau');
  t.equal(served.said, '', 'nothing was logged');
});
