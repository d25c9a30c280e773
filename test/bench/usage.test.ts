/** What the benchmark tells of processor time and memory. */
import t from 'tap';
import { Child, sendSignal } from '../../lib/demo/child.js';
import { groupsOf, markdown, type Result } from './results.js';
import { CpuMeter, forgetPeak, isAtWork, peakOf } from './usage.js';
import { mebibyte } from '../support/sizes.js';

/** Uses 0.3 s of processor time at each signal, in a child of its own that is gone when it says so. */
const worker = `
  $SIG{USR2} = sub {
    system $^X, '-e', '1 while (times)[0] < 0.3';
    open my $zero, '<', '/dev/zero' or die;
    sysread $zero, my $memory, 64 << 20;
    undef $memory;
    print STDERR "done\\n";
  };
  print STDERR "ready\\n";
  sleep 1000 while 1;`;

void t.test(
  'a process counts with its children, from the beginning of a measurement on',
  async (t) => {
    const child = await Child.start('perl', ['-e', worker]);
    t.teardown(() => child.stop({ graceMs: 0 }));
    await child.untilSaid(/^ready$/m);
    const first = new CpuMeter([child.pid]);
    sendSignal(child.pid, 'SIGUSR2');
    await child.untilSaid(/^done$/m);
    t.ok(first.seconds() > 0.25, `the child's time is there: ${first.seconds()}`);
    const second = new CpuMeter([child.pid]);
    t.ok(second.seconds() < 0.25, 'and is not counted again');

    t.ok((await peakOf(child.pid)) > 64 * mebibyte);
    forgetPeak(child.pid);
    t.ok((await peakOf(child.pid)) < 64 * mebibyte, 'a peak is that of one measurement');
    t.notOk(second.isLimit(), 'whoever waits is no limit');
  },
);

void t.test('who has no time left', (t) => {
  const time = { wall: 10, all: 5, threads: [3, 2], processors: 2 };
  t.notOk(isAtWork(time));
  t.ok(isAtWork({ ...time, threads: [9, 1] }), 'one thread cannot do more');
  t.ok(isAtWork({ ...time, all: 18, threads: [8, 8] }), 'nor can all processors');
  t.notOk(isAtWork({ ...time, all: 9, threads: [5, 4], processors: 2 }));
  t.end();
});

void t.test('the table says when seconds are not the contestant’s', (t) => {
  const usage = { cpuSeconds: 2.345, peakBytes: 50 * mebibyte, serverCpuSeconds: 0.7 };
  const result = (contestant: string, limits: ('endpoint' | 'link' | undefined)[]): Result => ({
    ...{ row: 'read', title: 'read', delayMs: 0, contestant, traffic: undefined },
    seconds: limits.map(() => 1),
    usage: limits.map((limit) => ({ ...usage, ...(limit !== undefined && { limit }) })),
  });
  const shown = (...results: Result[]): string =>
    markdown({ caption: '', results }, groupsOf(results, ['read']));
  const limited = shown(
    result('a', ['endpoint', 'endpoint', undefined]),
    result('b', ['link']),
    result('c', ['endpoint', undefined, undefined]),
  );
  t.match(limited, '| read | 0 ms | 1.0 (1.0) † | 1.0 (1.0) ‡ | 1.0 (1.0) |');
  t.match(limited, '† the endpoint was the limit');
  t.match(limited, /\| read \| 0 ms \|( 2\.3[45] \(0\.70\), 50 \|){3}/);
  t.notMatch(shown(result('c', [undefined])), '†');
  t.end();
});
