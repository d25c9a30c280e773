/**
 * Whose login a process belongs to, for the audit trail: the user's name, and where they come from.
 *
 * logind's record of the session, which the process's own cgroup names (pam_systemd puts it there), is
 * the word of the machine. Where no logind is, sshd's SSH_CONNECTION in the process's environment is
 * taken; a user who can start programs of their own can have anything there, so it is said where it
 * comes from. internal-sftp has no such environment, and reading that of another user's process needs
 * rights that a unit has not: then nothing is known.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LRUCache } from 'lru-cache';

export interface LoginSession {
  /** logind's id, or the addresses and ports of the connection */
  readonly id: string;
  readonly from: 'logind' | 'environment';
  readonly user?: string | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** Where the machine tells of processes and sessions. */
export interface SessionSources {
  readonly processes: string;
  /** logind's records, private to systemd but as they are since 2010 (sd-login(3) reads them) */
  readonly records: string;
}

const ofThisMachine = { processes: '/proc', records: '/run/systemd/sessions' } as const;

/** Processes whose session is remembered. */
const remembered = 10_000;

export class LoginSessions {
  readonly #sources: SessionSources;
  readonly #byProcess = new LRUCache<number, LoginSession>({ max: remembered });
  /** those under way by their id, with the processes that were seen */
  readonly #open = new Map<string, { session: LoginSession; pids: Set<number> }>();

  constructor(sources: SessionSources = ofThisMachine) {
    this.#sources = sources;
  }

  /** Asks again, since numbers of processes are used again. @returns the session, where it is new */
  see(pid: number): LoginSession | undefined {
    const session = this.#logindSession(pid) ?? this.#connection(pid);
    if (session === undefined) {
      this.#byProcess.delete(pid);
      return undefined;
    }
    this.#byProcess.set(pid, session);
    const open = this.#open.get(session.id);
    open?.pids.add(pid);
    if (open !== undefined) return undefined;
    this.#open.set(session.id, { session, pids: new Set([pid]) });
    return session;
  }

  /** What was seen of a process, which may have ended. */
  of(pid: number): LoginSession | undefined {
    return this.#byProcess.get(pid);
  }

  get hasOpen(): boolean {
    return this.#open.size > 0;
  }

  /** Forgets sessions that are over. @returns them */
  takeEnded(): LoginSession[] {
    const ended: LoginSession[] = [];
    const { processes, records } = this.#sources;
    for (const [id, { session, pids }] of this.#open) {
      for (const pid of pids) if (!existsSync(join(processes, String(pid)))) pids.delete(pid);
      const goesOn = session.from === 'logind' ? existsSync(join(records, id)) : pids.size > 0;
      if (goesOn) continue;
      this.#open.delete(id);
      ended.push(session);
    }
    return ended;
  }

  #logindSession(pid: number): LoginSession | undefined {
    const cgroups = this.#read(this.#sources.processes, String(pid), 'cgroup');
    const id = /\/session-(\w+)\.scope(?:\/|$)/m.exec(cgroups ?? '')?.[1];
    if (id === undefined) return undefined;
    const known = this.#open.get(id)?.session;
    if (known !== undefined) return known;
    const record = this.#read(this.#sources.records, id);
    if (record === undefined) return undefined;
    const fields = new Map(
      [...record.matchAll(/^(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
    );
    return {
      ...{ id, from: 'logind', user: fields.get('USER') },
      remoteAddress: fields.get('REMOTE') === '0' ? 'local' : fields.get('REMOTE_HOST'),
    };
  }

  /**
   * The environment lies in the process's memory, whose lock another of its threads may hold while it
   * waits for this very mount: only those of a single thread are read (`status` needs no lock).
   */
  #connection(pid: number): LoginSession | undefined {
    const status = this.#read(this.#sources.processes, String(pid), 'status');
    if (!/^Threads:\s*1$/m.test(status ?? '')) return undefined;
    const environment = this.#read(this.#sources.processes, String(pid), 'environ');
    const variables = new Map(
      (environment ?? '').split('\0').map((each) => {
        const [name = '', ...value] = each.split('=');
        return [name, value.join('=')];
      }),
    );
    const id = variables.get('SSH_CONNECTION');
    const [, remoteAddress, port] = /^(\S+) (\d+) \S+ \d+$/.exec(id ?? '') ?? [];
    if (id === undefined || remoteAddress === undefined) return undefined;
    const user = variables.get('LOGNAME') ?? variables.get('USER');
    return { id, from: 'environment', user, remoteAddress, remotePort: Number(port) };
  }

  /** What may not be read, or is gone, is not known. */
  #read(...path: string[]): string | undefined {
    try {
      return readFileSync(join(...path), 'utf8');
    } catch {
      return undefined;
    }
  }
}
