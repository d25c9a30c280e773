/**
 * The one table of mount options. From it come the options of the command line, the names taken by
 * `-o` and by S3JAIL_… variables, the help text, and the defaults.
 *
 * An option stands here once the program honours it, not before.
 */
import { accessOptions } from './groups/access.js';
import { homesOptions } from './groups/homes.js';
import { processOptions } from './groups/process.js';
import { s3Options } from './groups/s3.js';
import { semanticsOptions } from './groups/semantics.js';
import { transferOptions } from './groups/transfer.js';
import type { OptionSpec, OptionTable } from './option-spec.js';

export const optionTable: OptionTable = {
  ...s3Options,
  ...accessOptions,
  ...homesOptions,
  ...semanticsOptions,
  ...transferOptions,
  ...processOptions,
};

/** The rows in the order of the table, for help and for documents made from it. */
export const optionRows: readonly OptionSpec<unknown>[] = Object.values(optionTable);
