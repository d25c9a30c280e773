/**
 * The file that `--authorized-keys` names, before it is copied to where everybody can read it: lines of
 * public keys as sshd(8) has them (AUTHORIZED_KEYS FILE FORMAT), and nothing else. A private key given
 * by mistake, in whatever form, is none.
 */
import { readFile } from 'node:fs/promises';
import { Failure, messageOf } from '../host/failure.js';

/** Options may stand before, a comment behind. */
const keyPattern = /(?:^|\s)((?:ssh|ecdsa|sk)-[\w.@-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:\s|$)/;

/** @throws Failure with exit code 1, which shows nothing of the content */
export async function readPublicKeys(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new Failure(1, `--authorized-keys: ${messageOf(error)}`, { cause: error });
  }
  if (/PRIVATE KEY|PuTTY-User-Key-File/i.test(text)) {
    throw new Failure(
      1,
      `--authorized-keys: ${path} holds a private key, which nobody else may see; ` +
        'name the file of the public key, often the same name with .pub',
    );
  }
  const wrong = text.split('\n').findIndex((line) => !isBlank(line) && !isPublicKey(line));
  if (wrong >= 0) {
    throw new Failure(
      1,
      `--authorized-keys: line ${wrong + 1} of ${path} is no public key as ~/.ssh/authorized_keys has it`,
    );
  }
  return text;
}

function isBlank(line: string): boolean {
  return /^\s*(#|$)/.test(line);
}

/** The blob of a key begins with its type once more, behind its length (RFC 4253, section 6.6). */
function isPublicKey(line: string): boolean {
  const [, type, blob] = keyPattern.exec(line) ?? [];
  if (type === undefined || blob === undefined) return false;
  const bytes = Buffer.from(blob, 'base64');
  return bytes.length > 4 && bytes.toString('latin1', 4, 4 + bytes.readUInt32BE(0)) === type;
}
