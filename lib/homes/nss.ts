/**
 * The host's user database, asked through NSS and so through whatever it is told by: /etc, LDAP, SSSD.
 *
 * By programs of the system, because libc's calls wait in the process that makes them: a database that
 * hangs holds up a child, which is ended. getent(1) says the same where a database fails and where it
 * does not know the name (it looks at no errno), so that perl(1), which does, has the last word; on a
 * machine without it getent's is taken.
 */
import { execFile } from 'node:child_process';
import { systemErrorCode } from '../errors.js';
import { bareEnvironment } from '../host/bare-environment.js';

/** What passwd(5) has of a user, and the user's groups. */
export interface NssUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** ids, without the primary group; empty where they were not asked for */
  readonly groups: readonly number[];
}

/**
 * Asks for users by name.
 * @param ask.withGroups as sshd's `Match Group` asks, from initgroups(3): SSSD and LDAP may not tell a
 *   group's members
 * @returns those that are known
 * @throws Error where the database fails, or `signal` aborts
 */
export type AskNss = (
  names: readonly string[],
  ask: { readonly withGroups: boolean; readonly signal: AbortSignal },
) => Promise<readonly NssUser[]>;

/** getent(1): one or more of the keys are not known. */
const notFound = 2;
/** Of all answers to one question; a user may be in hundreds of groups. */
const longestAnswer = 8 * 1024 * 1024;

export const askNss: AskNss = async (names, { withGroups, signal }) => {
  const { status, stdout, stderr } = await run('getent', ['passwd', '--', ...names], signal);
  if (status !== 0 && status !== notFound) throw failure('getent passwd', { status, stderr });
  const users = stdout.split('\n').flatMap((line) => parseUser(line) ?? []);
  const missing = names.filter((name) => !users.some((user) => user.name === name));
  if (missing.length > 0) await confirmAbsence(missing, signal);
  if (!withGroups || users.length === 0) return users;
  const groups = await groupsOf(
    users.map(({ name }) => name),
    signal,
  );
  return users.map((user) => ({ ...user, groups: groups.get(user.name) ?? [] }));
};

function parseUser(line: string): NssUser | undefined {
  const [name, , uid, gid] = line.split(':');
  if (name === undefined || !isId(uid) || !isId(gid)) return undefined;
  return { name, uid: Number(uid), gid: Number(gid), groups: [] };
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,10}$/.test(text);
}

/** getpwnam(3) leaves errno as it is where there is no such user. */
const confirmation =
  'for (@ARGV) { $! = 0; my @user = getpwnam($_); die "$_: $!\n" if !@user && $! }';

/** @throws Error where it is not known whether the names are */
async function confirmAbsence(names: readonly string[], signal: AbortSignal): Promise<void> {
  let outcome: Outcome;
  try {
    outcome = await run('perl', ['-e', confirmation, '--', ...names], signal);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw error;
  }
  if (outcome.status !== 0) throw failure('getpwnam', outcome);
}

async function groupsOf(
  names: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const { status, stdout, stderr } = await run('getent', ['initgroups', '--', ...names], signal);
  if (status !== 0) throw failure('getent initgroups', { status, stderr });
  // Names come padded to a width, and may hold spaces.
  const lines = stdout.split('\n').filter((line) => line !== '');
  return new Map(
    names.map((name, index) => {
      const line = lines[index] ?? '';
      const ids = line.startsWith(name) ? line.slice(name.length).split(' ') : [];
      return [name, ids.filter(isId).map(Number)];
    }),
  );
}

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function failure(what: string, { status, stderr }: Omit<Outcome, 'stdout'>): Error {
  return new Error(`${what} failed (status ${status}): ${stderr.trim()}`);
}

async function run(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<Outcome> {
  return await new Promise((resolve, reject) => {
    const options = {
      env: bareEnvironment,
      maxBuffer: longestAnswer,
      killSignal: 'SIGKILL',
      signal,
    } as const;
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
      else reject(Object.assign(new Error(`${program}: ${error.message}`), { code: error.code }));
    });
  });
}
