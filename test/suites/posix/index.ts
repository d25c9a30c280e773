/**
 * What POSIX programs rely on, as cases that take an empty directory. They run on any file system;
 * `posix-calibration.test.ts` runs them on a local one first, so that a case which accuses a mount
 * has been right before.
 *
 * Left out is what S3 has no place for: links, devices, permissions, explicit times, the rename of a
 * directory that is not empty.
 */
import type { PosixCases } from './case.js';
import { directoryCases } from './directories.js';
import { contentCases } from './file-content.js';
import { nameCases } from './names.js';
import { removalCases } from './removing-and-renaming.js';

export const posixCases: PosixCases = {
  ...contentCases,
  ...nameCases,
  ...removalCases,
  ...directoryCases,
};
