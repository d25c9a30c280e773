/**
 * Whether a flush comes from a process that died before it closed the file: what arrived until then is
 * no file that anybody meant.
 *
 * A death by signal counts, and any end of sftp-server or internal-sftp with a file open: they exit 0
 * when their connection drops, and close what the client closed.
 */
import type { RequestContext } from '../operations.js';

export function isInterrupted({ closing, program }: RequestContext): boolean {
  const isServer = program === 'sftp-server' || program?.startsWith('sshd') === true;
  return closing === 'killed' || (closing === 'exit' && isServer);
}
