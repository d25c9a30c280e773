/** Whose login a process belongs to, by files as Linux, sshd and logind have them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LoginSessions } from '../../lib/observability/login-sessions.js';

class Machine {
  readonly #base = mkdtempSync(join(tmpdir(), 's3jail-sessions-'));
  readonly sources = {
    processes: join(this.#base, 'proc'),
    records: join(this.#base, 'sessions'),
  };

  constructor(t: Test) {
    mkdirSync(this.sources.records);
    t.teardown(() => rmSync(this.#base, { recursive: true }));
  }

  process(pid: number, files: Readonly<Record<string, string>>): void {
    const directory = join(this.sources.processes, String(pid));
    mkdirSync(directory, { recursive: true });
    const all = { status: 'Threads:\t1\n', ...files };
    for (const [name, text] of Object.entries(all)) writeFileSync(join(directory, name), text);
  }

  end(pid: number): void {
    rmSync(join(this.sources.processes, String(pid)), { recursive: true });
  }

  record(id: string, text: string): void {
    writeFileSync(join(this.sources.records, id), text);
  }

  endSession(id: string): void {
    rmSync(join(this.sources.records, id));
  }
}

/** Of logind in systemd 252, shortened. */
const record = `# This is private data. Do not parse.
UID=1001
USER=alice
ACTIVE=1
STATE=active
REMOTE=1
TYPE=tty
SCOPE=session-7.scope
REMOTE_HOST=192.0.2.7
SERVICE=sshd
LEADER=4000
`;

void t.test("logind's record is found by the cgroup", (t) => {
  const machine = new Machine(t);
  machine.record('7', record);
  machine.process(4711, { cgroup: '0::/user.slice/user-1001.slice/session-7.scope\n' });
  // In the session, through a tool that makes groups below.
  machine.process(4712, { cgroup: '1:name=systemd:/user.slice/session-7.scope/x\n0::/\n' });
  const sessions = new LoginSessions(machine.sources);
  const alice = { id: '7', from: 'logind', user: 'alice', remoteAddress: '192.0.2.7' };
  t.match(sessions.see(4711), alice);
  t.equal(sessions.see(4712), undefined, 'the session is not new');
  machine.end(4711);
  t.match(sessions.of(4711), alice, 'what ended is known');
  t.match(sessions.of(4712), alice);
  t.strictSame(sessions.takeEnded(), []);
  machine.endSession('7');
  t.match(sessions.takeEnded(), [alice]);
  t.notOk(sessions.hasOpen);
  t.end();
});

void t.test('a session of this machine itself is local', (t) => {
  const machine = new Machine(t);
  machine.record('c2', 'USER=bob\nREMOTE=0\n');
  machine.process(5, { cgroup: '0::/user.slice/session-c2.scope\n' });
  t.match(new LoginSessions(machine.sources).see(5), { user: 'bob', remoteAddress: 'local' });
  t.end();
});

void t.test("without logind sshd's word in the environment counts", (t) => {
  const machine = new Machine(t);
  const environ = 'LOGNAME=carol\0SSH_CONNECTION=2001:db8::7 40000 2001:db8::1 22\0A=B=C\0';
  machine.process(9, { cgroup: '0::/\n', environ });
  machine.process(10, { cgroup: '0::/\n', environ: 'X_SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22\0' });
  machine.process(11, { cgroup: '0::/\n', environ: 'SSH_CONNECTION=somewhere\0' });
  machine.process(12, { cgroup: '0::/\n', environ, status: 'Threads:\t2\n' });
  const sessions = new LoginSessions(machine.sources);
  const carol = { from: 'environment', user: 'carol', remotePort: 40_000 };
  t.match(sessions.see(9), { ...carol, remoteAddress: '2001:db8::7' });
  for (const pid of [10, 11, 12, 13]) {
    t.equal(sessions.see(pid), undefined);
    t.equal(sessions.of(pid), undefined);
  }
  t.strictSame(sessions.takeEnded(), []);
  machine.end(9);
  t.match(sessions.takeEnded(), [carol]);
  t.end();
});

void t.test('a number that another process has now is no longer in the session', (t) => {
  const machine = new Machine(t);
  machine.record('7', record);
  machine.process(4711, { cgroup: '0::/user.slice/session-7.scope\n' });
  const sessions = new LoginSessions(machine.sources);
  sessions.see(4711);
  machine.process(4711, { cgroup: '0::/system.slice/cron.service\n' });
  sessions.see(4711);
  t.equal(sessions.of(4711), undefined);
  t.end();
});
