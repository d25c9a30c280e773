/**
 * The program that does the work of rows on a mounted directory, and checks each byte it reads while it
 * does: in perl, because that starts at once and compares as fast as memory is. Arguments: a task, a
 * path, numbers. BENCH_PATTERN names the file with the pattern of content.ts.
 */
export const workProgram = String.raw`
use strict; use warnings; use Fcntl;
my ($task, $path, @numbers) = @ARGV;
my $block_size = 1 << 20;
open my $source, '<:raw', $ENV{BENCH_PATTERN} or die "pattern: $!\n";
read($source, my $block, $block_size) == $block_size or die "no pattern\n";

# Bytes of one system call; a program that is not told otherwise takes a block.
my $call_size = $block_size;

# A block in place of the one before: nothing is copied but its number.
sub number { substr $block, 0, 8, pack 'Q<', shift }

sub check {
  my ($file, $size, $number) = @_;
  sysopen my $in, $file, O_RDONLY or die "$file: $!\n";
  my $bytes = '';
  for (my $left = $size; $left > 0; $left -= length $bytes) {
    my $wanted = $left < $block_size ? $left : $block_size;
    $bytes = '';
    while (length $bytes < $wanted) {
      my $rest = $wanted - length $bytes;
      my $got = sysread $in, $bytes, $rest < $call_size ? $rest : $call_size, length $bytes;
      defined $got or die "$file: $!\n";
      $got > 0 or die "$file is too short\n";
    }
    number($number++);
    $bytes eq ($wanted == $block_size ? $block : substr $block, 0, $wanted)
      or die "$file: wrong bytes\n";
  }
  (sysread $in, $bytes, 1) == 0 or die "$file is too long\n";
}

sub store {
  my ($file, $size, $number, $how) = @_;
  sysopen my $out, $file, O_WRONLY | O_CREAT | $how or die "$file: $!\n";
  for (my $left = $size; $left > 0; $left -= $block_size) {
    my $wanted = $left < $block_size ? $left : $block_size;
    number($number++);
    for (my $at = 0; $at < $wanted; $at += $call_size) {
      my $length = $wanted - $at < $call_size ? $wanted - $at : $call_size;
      ((syswrite $out, $block, $length, $at) // -1) == $length or die "$file: $!\n";
    }
  }
  close $out or die "closing $file: $!\n";
}

sub random {
  my ($size, $count) = @_;
  srand 1;
  open my $in, '<:raw', $path or die "$path: $!\n";
  for (1 .. $count) {
    my $at = 4096 * int rand $size / 4096;
    sysseek $in, $at, 0 or die "$path: $!\n";
    (sysread $in, my $bytes, 4096) == 4096 or die "$path: $!\n";
    number(int $at / $block_size);
    $bytes eq substr $block, $at % $block_size, 4096 or die "$path: wrong bytes at $at\n";
  }
}

# As many processes as there are numbers below the count; all have to succeed.
sub together {
  my ($count, $work) = @_;
  for my $index (0 .. $count - 1) {
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) { $work->($index); exit 0 }
  }
  my $failed = 0;
  while (wait() > 0) { $failed++ if $? != 0 }
  $failed == 0 or die "$failed of $count failed\n";
}

sub name { sprintf '%s/%06d', @_ }

sub status {
  my ($directory, $count) = @_;
  for (0 .. $count - 1) {
    my $size = (stat name($directory, $_))[7];
    defined $size or die "$directory: $!\n";
    $size == 10 or die "$directory: wrong size\n";
  }
}

my %tasks = (
  read => sub { my $size = shift; $call_size = shift // $block_size; check($path, $size, 0) },
  write => sub {
    my $size = shift;
    $call_size = shift // $block_size;
    store($path, $size, 0, O_TRUNC);
  },
  append => sub { store($path, @_, O_APPEND) },
  random => \&random,
  create => sub {
    mkdir $path or die "$path: $!\n";
    store(name($path, $_), 4096, $_, O_EXCL) for 0 .. $_[0] - 1;
  },
  check => sub { check(name($path, $_), 4096, $_) for 0 .. $_[0] - 1 },
  parallel => sub {
    my ($count, $size) = @_;
    together($count, sub { check(name($path, $_[0]), $size, 1000 * $_[0]) });
  },
  stat => sub {
    my ($sessions, $files) = @_;
    together($sessions, sub { status(name($path, $_[0]), $files) });
  },
);
$tasks{$task}->(@numbers);
`;
