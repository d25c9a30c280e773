/**
 * Files of variables, as EnvironmentFile= in systemd.exec(5) reads them: the defaults of all mounts of
 * this machine, and what each mount has of its own.
 */
import { readFile } from 'node:fs/promises';
import { systemErrorCode } from '../errors.js';

/** Counts for each mount made at boot, before its own. */
export const defaultsFile = '/etc/s3jail/defaults';

export type Variables = Readonly<Record<string, string>>;

/** The variables of a file; a later line of a name wins. Lines that are none are left out, as there. */
export function parseVariables(text: string): Variables {
  const variables: Record<string, string> = {};
  for (const line of text.replaceAll('\\\n', '').split('\n')) {
    const [, name, value] = /^\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) variables[name] = unquoted(value);
  }
  return variables;
}

/** Those of /etc/s3jail/defaults; none where it is not there. */
export async function readDefaults(): Promise<Variables> {
  try {
    return parseVariables(await readFile(defaultsFile, 'utf8'));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return {};
    throw error;
  }
}

function unquoted(value: string): string {
  if (/^'.*'$/.test(value)) return value.slice(1, -1);
  if (/^".*"$/.test(value)) return value.slice(1, -1).replace(/\\(["\\$`])/g, '$1');
  return value.replace(/\\(.)/g, '$1');
}
