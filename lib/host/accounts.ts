/**
 * Users and groups as this machine knows them: those of /etc, and those that come from LDAP and the
 * like, which getent(1) knows.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { systemErrorCode } from '../errors.js';
import { bareEnvironment } from './bare-environment.js';

/** A user of this machine, as passwd(5) has one. */
export interface UserAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** One of this machine itself: those of a directory service are not ours to make or remove. */
export interface LocalUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly comment: string;
}

export type AccountDatabase = 'passwd' | 'group';

/** The user's line of passwd(5), read from the file and not from NSS. */
export function findLocalUser(name: string): LocalUser | undefined {
  const fields = recordsOf('passwd').find(([user]) => user === name);
  if (fields === undefined) return undefined;
  const [, , uid, gid, comment = ''] = fields;
  return { name, uid: Number(uid), gid: Number(gid), comment };
}

/**
 * The account of a user given by name or number.
 * @throws Error where getent fails
 */
export function findAccount(user: string): UserAccount | undefined {
  const [name, , uid, gid, , home] = lookUp('passwd', user) ?? [];
  if (name === undefined || home === undefined) return undefined;
  return { name, uid: Number(uid), gid: Number(gid), home };
}

/** The name that /etc/passwd has for a user id, without asking anybody else. */
export function localNameOf(uid: number): string | undefined {
  return recordsOf('passwd').find(([, , id]) => id === String(uid))?.[0];
}

/** The id of a user or group given by name. @throws Error where getent fails */
export function idOf(database: AccountDatabase, name: string): number | undefined {
  const id = lookUp(database, name)?.[2];
  return id === undefined ? undefined : Number(id);
}

/** A group by name or number: its name, and who is said to be in it. @throws Error where getent fails */
export function findGroup(group: string): { name: string; members: string[] } | undefined {
  const [name, , , members = ''] = lookUp('group', group) ?? [];
  if (name === undefined) return undefined;
  return { name, members: members.split(',').filter((member) => member !== '') };
}

/** The primary group of a user id, or undefined for an id that no account has. */
export function primaryGroupOf(uid: number): number | undefined {
  return findAccount(String(uid))?.gid;
}

/**
 * The fields of an account, by name or number. /etc first; getent(1) is asked only for what can be an
 * account (a leading `-` is an option).
 */
function lookUp(database: AccountDatabase, key: string): string[] | undefined {
  const known = recordsOf(database).find((fields) => fields[0] === key || fields[2] === key);
  if (known !== undefined || !/^[\w][\w.@\\$-]*$/.test(key)) return known;
  try {
    const answer = execFileSync('getent', [database, key], {
      encoding: 'utf8',
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: bareEnvironment,
    });
    return parseRecords(answer)[0];
  } catch (error) {
    // Exit status 2 is getent's "no such key"; without getent, /etc was all there is to ask.
    const status = error instanceof Error && 'status' in error ? error.status : undefined;
    if (status === 2 || systemErrorCode(error) === 'ENOENT') return undefined;
    throw new Error(`getent ${database} failed`, { cause: error });
  }
}

function recordsOf(database: AccountDatabase): string[][] {
  return parseRecords(readFileSync(`/etc/${database}`, 'utf8'));
}

function parseRecords(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 3);
}
