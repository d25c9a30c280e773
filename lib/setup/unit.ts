/**
 * The template unit for systemd, as it is installed: the one of the package, with the programs named
 * by their paths. Where npm put them need not be in the service manager's PATH.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const shipped = new URL('../../../lib/systemd/s3jail@.service', import.meta.url);

/** The program as systemd and mount(8) start it. */
export const programPath = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));

export async function unitText(): Promise<string> {
  const call = `${process.execPath} ${programPath}`;
  const text = await readFile(shipped, 'utf8');
  return text.replace(/^(Exec\w+=-?)s3jail /gm, (_all, key: string) => `${key}${call} `);
}
