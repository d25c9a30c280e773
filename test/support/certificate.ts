/** Certificates for servers of tests, made by openssl(1). */
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
  /** file with the certificate to trust, until the end of the test */
  readonly file: string;
}

const run = promisify(execFile);
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate that is its own authority. @param names as openssl has them: IP:… and DNS:… */
export async function makeCertificate(t: Test, names = 'IP:127.0.0.1'): Promise<Certificate> {
  const folder = await makeFolder(t);
  return await issue(folder, 'own', ['-addext', `subjectAltName=${names}`]);
}

/** A certificate from an authority of its own; `file` is that authority's. */
export async function makeSignedCertificate(t: Test, names: string): Promise<Certificate> {
  const folder = await makeFolder(t);
  const authority = await issue(folder, 'authority', []);
  const by = ['-CA', authority.file, '-CAkey', join(folder, 'authority.key')];
  const isLeaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  const signed = await issue(folder, 'signed', [
    ...by,
    ...isLeaf,
    '-addext',
    `subjectAltName=${names}`,
  ]);
  return { ...signed, file: authority.file };
}

async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 's3jail-certificate-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function issue(folder: string, name: string, more: readonly string[]): Promise<Certificate> {
  const [keyFile, file] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const output = ['-keyout', keyFile, '-out', file, '-days', '2', '-subj', `/CN=${name}`];
  await run('openssl', ['req', '-x509', ...newKey, ...output, ...more]);
  return { key: await readFile(keyFile, 'utf8'), cert: await readFile(file, 'utf8'), file };
}
