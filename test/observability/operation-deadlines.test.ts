/** Which operations end at the deadline, and which take as long as the content they move. */
import t from 'tap';
import { silentLog } from '../../lib/log.js';
import { withDeadlines } from '../../lib/observability/operation-deadlines.js';
import type { Operations, RequestContext } from '../../lib/operations.js';
import type { Path } from '../../lib/path.js';

const path = '/a' as Path;
const closing = 'close';
const context: RequestContext = { caller: { uid: 1 } };

type Run = (operations: Operations) => Promise<unknown>;

const limited: Readonly<Record<string, Run>> = {
  getattr: (operations) => operations.getattr(path, context, 7),
  open: (operations) => operations.open(path, { access: 'read' }, context),
  create: (operations) => operations.create(path, { access: 'write' }, context),
  read: (operations) => operations.read(7, 0, 1, context),
  unlink: (operations) => operations.unlink(path, context),
  mkdir: (operations) => operations.mkdir(path, context),
  rmdir: (operations) => operations.rmdir(path, context),
  chmod: (operations) => operations.chmod(path, 0o600, context),
  chown: (operations) => operations.chown(path, 1, 1, context),
};

const unlimited: Readonly<Record<string, Run>> = {
  opendir: (operations) => operations.opendir(path, context),
  write: (operations) => operations.write(7, Buffer.alloc(1), 0, context),
  flush: (operations) => operations.flush(7, { ...context, closing }),
  fsync: (operations) => operations.fsync(7, context),
  release: (operations) => operations.release(7),
  truncate: (operations) => operations.truncate(path, 0, context),
  rename: (operations) => operations.rename(path, path, context, {}),
  utimens: (operations) => operations.utimens(path, 'now', 'now', context),
  symlink: (operations) => operations.symlink('x', path, context),
  link: (operations) => operations.link(path, path, context),
  mknod: (operations) => operations.mknod(path, context),
};

interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly answer: (value: unknown) => void;
}

/** Operations that answer when the test does. */
function useOperations(deadlineMs: number) {
  const calls: Call[] = [];
  const outcomes: string[] = [];
  const seen: (number | undefined)[] = [];
  const names = [...Object.keys(limited), ...Object.keys(unlimited)];
  const inner = Object.fromEntries(
    names.map((name) => [
      name,
      (...args: unknown[]) =>
        new Promise((answer) => {
          calls.push({ name, args, answer });
        }),
    ]),
  );
  const metrics = {
    operation: (name: string, result: string): void => void outcomes.push(`${name} ${result}`),
  };
  const operations = withDeadlines(inner as unknown as Operations, {
    metrics,
    activity: { note: () => undefined },
    users: { see: (uid) => void seen.push(uid) },
    deadlineMs,
    log: silentLog,
  });
  return { operations, calls, outcomes, seen };
}

void t.test('a question to S3 ends at the deadline, and its signal says so', async (t) => {
  for (const [name, run] of Object.entries(limited)) {
    const { operations, calls, outcomes } = useOperations(1);
    await t.rejects(run(operations), { code: 'EIO' }, name);
    t.strictSame(outcomes, [`${name} EIO`]);
    const given = calls[0]?.args.find((arg) => (arg as RequestContext).signal !== undefined);
    t.ok((given as RequestContext | undefined)?.signal?.aborted, `${name}: it is told`);
    t.strictSame((given as RequestContext | undefined)?.caller, { uid: 1 }, `${name}: who asks`);
  }
});

void t.test('a handle that comes too late is released', async (t) => {
  for (const name of ['open', 'create']) {
    const { operations, calls } = useOperations(1);
    await t.rejects(limited[name]!(operations), { code: 'EIO' });
    calls[0]!.answer(9);
    await new Promise(setImmediate);
    t.strictSame([calls[1]?.name, calls[1]?.args], ['release', [9]], name);
  }
});

void t.test('what moves content is handed on as it is', async (t) => {
  for (const [name, run] of Object.entries(unlimited)) {
    // Over at once, if it were limited.
    const { operations, calls, outcomes } = useOperations(0);
    const answer = run(operations);
    await new Promise((resolve) => setTimeout(resolve, 5));
    calls[0]!.answer('answer');
    t.equal(await answer, 'answer', name);
    t.strictSame(outcomes, [`${name} ok`]);
  }
});
