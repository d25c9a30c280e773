/**
 * What one SFTP session does for a round, by the program that does it: puts, gets, renames, removals
 * and listings, in a directory of its own. Each round leaves files behind and says which.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, descendantsOf, runCommand, sendSignal, type Ending } from '../../lib/demo/child.js';
import { clientOptions, type Sshd } from '../../lib/demo/sshd.js';
import { sha256 } from './bucket.js';
import { lftp } from './lftp.js';
import { sha256OfFile } from './local-files.js';
import { mebibyte } from './sizes.js';

export const sessionKinds = ['sftp', 'scp', 'lftp', 'paramiko', 'dropped'] as const;
export type SessionKind = (typeof sessionKinds)[number];

/** A user with sessions. */
export interface SessionUser {
  readonly sshd: Sshd;
  readonly account: { readonly name: string };
}

export interface Session extends SessionUser {
  readonly kind: SessionKind;
  /** its directory on the server */
  readonly name: string;
  /** its local directory */
  readonly local: string;
}

/** What the server holds in the end: SHA-256 by name, below the session's directory. */
export type Left = Map<string, string>;

const sizes = [0, 1, 3000, 70_000, 400_000, 9_000_000];

/** @throws Error with what the program said, or which file came back changed */
export async function doRound(session: Session, round: number, left: Left): Promise<void> {
  await mkdir(session.local, { recursive: true, mode: 0o700 });
  const body = randomBytes(sizes[randomInt(sizes.length)] ?? 0);
  await writeFile(join(session.local, 'up'), body);
  await rm(join(session.local, 'down'), { force: true });
  await rounds[session.kind](session, `f${round}`, left, sha256(body));
}

type Round = (session: Session, file: string, left: Left, hash: string) => Promise<void>;

const rounds: Readonly<Record<SessionKind, Round>> = {
  /** Put under a temporary name, rename, get back, and put over the last round's. */
  sftp: async (session, file, left, hash) => {
    const lines = [`-mkdir ${session.name}`, `cd ${session.name}`, `put up ${file}.part`];
    lines.push(`rename ${file}.part ${file}`, `get ${file} down`, 'put up same', 'ls -l');
    mustSucceed(await sftp(session, lines), session);
    await compare(session, hash);
    left.set(file, hash).set('same', hash);
  },
  /** Up over what is there, and down. */
  scp: async (session, _file, left, hash) => {
    const remote = `${session.account.name}@127.0.0.1:/${session.name}-scp`;
    const options = ['-P', String(session.sshd.port), ...clientOptions(session.sshd)];
    for (const operands of [
      ['up', remote],
      [remote, 'down'],
    ]) {
      const args = [...options, ...operands];
      mustSucceed(await runCommand('scp', args, { cwd: session.local }), session);
    }
    await compare(session, hash);
    left.set('-scp', hash);
  },
  /** A tree up and down, and one file of it away again. */
  lftp: async (session, file, left, hash) => {
    await mkdir(join(session.local, 'tree/deep'), { recursive: true });
    for (const name of ['tree/a', 'tree/deep/b']) {
      await writeFile(join(session.local, name), await readFile(join(session.local, 'up')));
    }
    const directory = `${session.name}/${file}`;
    const ending = await lftp(
      session,
      `mkdir -p -f ${session.name}`,
      `mirror -R tree ${directory}`,
      `get ${directory}/deep/b -o down`,
      `rm ${directory}/a`,
    );
    mustSucceed(ending, session);
    await compare(session, hash);
    left.set(`${file}/deep/b`, hash);
  },
  /** A library's own client: pipelined writes, prefetched reads, and an append. */
  paramiko: async (session, file, left, hash) => {
    const { port, identityFile } = session.sshd;
    const facts = [String(port), session.account.name, identityFile, session.name, file];
    const options = { cwd: session.local };
    mustSucceed(
      await runCommand('/usr/bin/python3', ['-c', paramikoRound, ...facts], options),
      session,
    );
    await compare(session, hash);
    const whole = Buffer.concat([await readFile(join(session.local, 'up')), Buffer.from('tail')]);
    left.set(file, hash).set(`${file}.log`, sha256(whole));
  },
  /** The client vanishes in the middle of a put: nothing is left of it. */
  dropped: async (session) => {
    await writeFile(join(session.local, 'up'), randomBytes(9 * mebibyte));
    // sftp counts its limit in Kbit/s: this takes half a minute, which it is not given.
    const args = ['-l', '2400', '-b', '-', '-P', String(session.sshd.port)];
    args.push(...clientOptions(session.sshd), `${session.account.name}@127.0.0.1`);
    const client = await Child.start('sftp', args, {
      cwd: session.local,
      input: { text: `put up ${session.name}-dropped\n` },
    });
    await sleep(randomInt(500, 1500));
    for (const pid of [...descendantsOf(client.pid), client.pid]) sendSignal(pid, 'SIGKILL');
    await client.ended;
  },
};

const paramikoRound = `
import paramiko, sys
port, user, key, directory, name = sys.argv[1:]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect('127.0.0.1', port=int(port), username=user, key_filename=key,
               allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
try:
    sftp.mkdir(directory)
except IOError:
    sftp.stat(directory)
path = directory + '/' + name
sftp.put('up', path)
sftp.get(path, 'down')
sftp.put('up', path + '.log')
with sftp.open(path + '.log', 'a') as log:
    log.write(b'tail')
assert name in sftp.listdir(directory)
client.close()
`;

function sftp(session: Session, lines: readonly string[]): Promise<Ending> {
  const args = ['-b', '-', '-P', String(session.sshd.port), ...clientOptions(session.sshd)];
  return runCommand('sftp', [...args, `${session.account.name}@127.0.0.1`], {
    cwd: session.local,
    input: { text: `${lines.join('\n')}\n` },
  });
}

function mustSucceed({ status, stderr }: Ending, { kind, name }: Session): void {
  if (status !== 0) throw new Error(`${kind} ${name} ended with ${status}: ${stderr.trim()}`);
}

async function compare({ kind, name, local }: Session, hash: string): Promise<void> {
  if ((await sha256OfFile(join(local, 'down'))) === hash) return;
  throw new Error(`${kind} ${name} got back other bytes than it put`);
}
