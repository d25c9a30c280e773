/**
 * The name of a session for a user: AWS's logs show it, so it is the user's name where STS takes that
 * (2 to 64 of `[\w+=,.@-]`; STS API reference, AssumeRole; Ceph 16 refuses `+`), and no two users have
 * the same.
 *
 * Other bytes, and `=`, are written `=XX`, and so is a name of one character. What is too long then
 * ends in `==` and a hash, which nothing escaped holds.
 */
import { createHash } from 'node:crypto';

const longest = 64;

export function sessionName(user: string): string {
  const bytes = [...Buffer.from(user)];
  const escaped = bytes.map((byte) => (bytes.length > 1 ? named(byte) : hex(byte))).join('');
  if (escaped.length <= longest) return escaped;
  const end = `==${createHash('sha256').update(user).digest('base64url')}`;
  return escaped.slice(0, longest - end.length) + end;
}

function named(byte: number): string {
  const character = String.fromCharCode(byte);
  return /[\w,.@-]/.test(character) ? character : hex(byte);
}

function hex(byte: number): string {
  return `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}
