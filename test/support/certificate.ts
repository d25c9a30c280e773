/** A certificate for 127.0.0.1 that no authority has signed. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';

export interface Certificate {
  /** PEM */
  readonly key: string;
  /** PEM */
  readonly cert: string;
  /** file with `cert`, until the end of the test */
  readonly file: string;
}

export async function makeCertificate(t: Test): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 's3jail-certificate-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [keyFile, file] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const run = promisify(execFile);
  await run('openssl', [...kind, '-keyout', keyFile, '-out', file, '-days', '2', ...subject]);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(file, 'utf8'), file };
}
