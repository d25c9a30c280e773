/**
 * Whose home a name is: what the host's user database says of it, remembered for seconds.
 *
 * A name that is in use is asked for again before its answer is too old, so that nobody waits for it.
 * Who asks for the same name waits for the same question; few questions are asked at a time. While the
 * database fails, or does not answer in time, what it said last of a user holds; of a name that it said
 * nothing of nothing is known.
 */
import { LRUCache } from 'lru-cache';
import { unlessAborted } from '../concurrency/abort.js';
import { systemClock, type Clock } from '../clock.js';
import { FsError } from '../errors.js';
import type { Log } from '../log.js';
import { Budget } from '../limits/budget.js';
import { askNss, type AskNss, type NssUser } from './nss.js';

/** Whose a home is. */
export interface HomeOwner {
  readonly uid: number;
  /** the primary group */
  readonly gid: number;
}

/** What the user database said of a name. */
export interface Remembered {
  /** undefined: nobody has a home of that name */
  readonly owner: HomeOwner | undefined;
  /** for so long it counts */
  readonly forMs: number;
}

/** Who has a home: the members of a group, or where none is named whoever has at least this uid. */
export interface Admission {
  readonly group: number | undefined;
  readonly minUid: number;
}

export interface UserDatabaseSettings {
  readonly admission: Admission;
  readonly log: Log;
  readonly clock?: Clock;
  readonly ask?: AskNss;
  /** for one question, its turn included */
  readonly timeoutMs?: number;
}

/** So long after userdel(8) somebody still gets in. */
export const rememberedMs = 10_000;
/** From this age on an answer that is used is asked for anew. */
const renewedFromMs = 4000;
/** Shorter: somebody may be waiting for useradd(8) to count. */
const absenceMs = 2000;
/** Before an answer of the usual age that is in use grows too old. */
const questionMs = 5000;
/** Before a database that failed is asked again about what is known. */
const pauseMs = 1000;
const questionsAtOnce = 4;
/** For one question about many names. */
const namesAtOnce = 100;
const rememberedMax = 20_000;

/** As useradd(8) and directory services allow them: 256 bytes is what Linux takes anywhere. */
const longestName = 256;

interface Answer {
  readonly owner: HomeOwner | undefined;
  /** when it was asked for, as Clock.nowMs */
  readonly askedMs: number;
}

export class UserDatabase {
  readonly #admission: Admission;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #ask: AskNss;
  readonly #timeoutMs: number;
  readonly #answers = new LRUCache<string, Answer>({ max: rememberedMax });
  readonly #asking = new Map<string, Promise<HomeOwner | undefined>>();
  readonly #turns = new Budget(questionsAtOnce);
  readonly #onChanged: ((name: string) => void)[] = [];
  /** as Clock.nowMs: when the last question had no answer, if it had none */
  #failedMs: number | undefined;

  constructor(settings: UserDatabaseSettings) {
    const { admission, log, clock = systemClock, ask = askNss, timeoutMs = questionMs } = settings;
    this.#admission = admission;
    this.#log = log;
    this.#clock = clock;
    this.#ask = ask;
    this.#timeoutMs = timeoutMs;
  }

  /** Has `listener` called when a home has come to be somebody else's, or nobody's. */
  onChanged(listener: (name: string) => void): void {
    this.#onChanged.push(listener);
  }

  /** What is known of a name without asking; undefined where `find` has to be waited for. */
  peek(name: string): Remembered | undefined {
    if (!isPossible(name)) return { owner: undefined, forMs: absenceMs };
    const answer = this.#answers.get(name);
    if (answer === undefined) return undefined;
    const { owner, askedMs } = answer;
    const ageMs = this.#clock.nowMs() - askedMs;
    if (owner !== undefined && ageMs >= renewedFromMs) this.#renew(name);
    const forMs = (owner === undefined ? absenceMs : rememberedMs) - ageMs;
    if (forMs > 0) return { owner, forMs };
    const stillHolds = owner !== undefined && this.#failedMs !== undefined;
    return stillHolds ? { owner, forMs: 0 } : undefined;
  }

  /** Whose home a name is, or undefined. @throws FsError EIO where the database does not say */
  async find(name: string): Promise<HomeOwner | undefined> {
    const known = this.peek(name);
    return known === undefined ? await this.#question(name) : known.owner;
  }

  /** Those of many names that are somebody's. @throws FsError EIO */
  async amongst(names: readonly string[]): Promise<string[]> {
    const unknown = names.filter((name) => this.peek(name) === undefined);
    for (let at = 0; at < unknown.length; at += namesAtOnce) {
      await this.#askFor(unknown.slice(at, at + namesAtOnce));
    }
    return names.filter(
      (name) => isPossible(name) && this.#answers.peek(name)?.owner !== undefined,
    );
  }

  #renew(name: string): void {
    const hasJustFailed =
      this.#failedMs !== undefined && this.#clock.nowMs() - this.#failedMs < pauseMs;
    // What it brings is told by `onChanged`, that it failed by the log.
    if (!this.#asking.has(name) && !hasJustFailed) this.#question(name).catch(() => undefined);
  }

  #question(name: string): Promise<HomeOwner | undefined> {
    let question = this.#asking.get(name);
    if (question === undefined) {
      question = this.#askFor([name])
        .then(() => this.#answers.peek(name)?.owner)
        .finally(() => this.#asking.delete(name));
      this.#asking.set(name, question);
    }
    return question;
  }

  /** @throws FsError EIO for names of which nothing was ever known */
  async #askFor(names: readonly string[]): Promise<void> {
    const askedMs = this.#clock.nowMs();
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const timer = setTimeout(() => giveUp.abort(), this.#timeoutMs);
    const withGroups = this.#admission.group !== undefined;
    try {
      const asking = this.#turns.hold(1, async () => {
        signal.throwIfAborted();
        return await this.#ask(names, { withGroups, signal });
      });
      const users = await unlessAborted(asking, signal, new Error('no answer in time'));
      this.#failedMs = undefined;
      for (const name of names) this.#note(name, { owner: this.#ownerOf(name, users), askedMs });
    } catch (error) {
      this.#failedMs = this.#clock.nowMs();
      const cause = error instanceof Error ? error.message : String(error);
      this.#log.warn({ cause }, 'the user database does not answer');
      if (names.every((name) => this.#answers.peek(name)?.owner !== undefined)) return;
      throw new FsError('EIO', `the user database does not answer: ${cause}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  #note(name: string, answer: Answer): void {
    const before = this.#answers.peek(name)?.owner;
    this.#answers.set(name, answer);
    if (before === undefined || isSame(before, answer.owner)) return;
    this.#log.info({ home: name }, `the home ${name} has another owner now, or none`);
    for (const listener of this.#onChanged) listener(name);
  }

  #ownerOf(name: string, users: readonly NssUser[]): HomeOwner | undefined {
    // A database that takes another case, or an alias, tells the name it keeps.
    const user = users.find((each) => each.name === name);
    if (user === undefined || name === 'nobody' || !isUsers(user.uid)) return undefined;
    const { group, minUid } = this.#admission;
    const isAdmitted =
      group === undefined ? user.uid >= minUid : [user.gid, ...user.groups].includes(group);
    return isAdmitted ? { uid: user.uid, gid: user.gid } : undefined;
  }
}

function isSame(one: HomeOwner, other: HomeOwner | undefined): boolean {
  return one.uid === other?.uid && one.gid === other.gid;
}

/**
 * Whether a name can be that of a user and of nothing else: getent(1) takes digits for a uid, and `+` or
 * `-` in front stands for whole databases in passwd(5) (nsswitch.conf(5), compat).
 */
function isPossible(name: string): boolean {
  return (
    name !== '.' &&
    name !== '..' &&
    Buffer.byteLength(name) <= longestName &&
    name.isWellFormed() &&
    !/^$|^[+-]|[/:\p{Cc}]|^\d+$/u.test(name)
  );
}

/**
 * Whether a uid may be somebody's for good: not that of nobody (65534, and 65535 of 16 bits), not -1,
 * and none that systemd gives to services while they run (UIDS-GIDS.md of systemd).
 */
function isUsers(uid: number): boolean {
  const isDynamic = uid >= 61_184 && uid <= 65_519;
  return !isDynamic && uid !== 65_534 && uid !== 65_535 && uid < 0xffff_ffff;
}
