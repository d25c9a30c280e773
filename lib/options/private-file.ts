/** Files that hold a secret: whoever else could read or replace one has it. */
import { lstatSync, readFileSync } from 'node:fs';
import { systemErrorCode } from '../errors.js';
import { messageOf } from '../host/failure.js';
import { OptionValueError, quote } from './values.js';

/**
 * @param path absolute
 * @param what completes "… has to be its user's alone"
 * @throws OptionValueError where it cannot be read, or others could read it
 */
export function readPrivateFile(path: string, what: string): Buffer {
  try {
    const { mode, uid } = lstatSync(path);
    const isFile = (mode & 0o170000) === 0o100000;
    if (!isFile) throw new OptionValueError(`${quote(path)} is no regular file`);
    if ((mode & 0o077) !== 0 || (uid !== 0 && uid !== process.geteuid?.())) {
      const shown = (mode & 0o777).toString(8).padStart(4, '0');
      throw new OptionValueError(
        `${quote(path)} ${what} and has to be its user's alone, but belongs to uid ${uid} ` +
          `with mode ${shown}; chown it to the user who mounts and chmod 600 it`,
      );
    }
    return readFileSync(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new OptionValueError(`cannot be read: ${messageOf(error)}`);
  }
}
