/**
 * Answers on their way to the kernel: small ones are written at once, large ones by a pool thread, and
 * what an answer handed out is taken back where it does not arrive.
 */
import { FsError, systemErrorCode } from '../../errors.js';
import type { Log } from '../../log.js';
import type { Reply } from './call.js';
import type { Device } from './device.js';
import { operationName, replyHeaderBytes } from './protocol.js';
import { emptyReply, writeReplyHeader } from './replies.js';
import type { RequestHeader } from './requests.js';

/** Replies up to this size are copied to the kernel on the main thread. */
const smallReplyBytes = 64 * 1024;

export class Answers {
  readonly #device: Device;
  readonly #log: Log;

  constructor(device: Device, log: Log) {
    this.#device = device;
    this.#log = log;
  }

  refuse(header: RequestHeader, errno: number): void {
    const bytes = emptyReply();
    writeReplyHeader(bytes, { length: bytes.length, unique: header.unique, error: errno });
    try {
      this.#device.writeNow([bytes]);
    } catch (error) {
      this.#isGone(header, error);
    }
  }

  /** @returns what settles when the pieces are not looked at any more; undefined if that is now */
  deliver(header: RequestHeader, reply: Reply): Promise<void> | undefined {
    const [first] = reply.pieces;
    if (!(first instanceof Buffer)) return undefined;
    const length = reply.pieces.reduce((sum, piece) => sum + piece.length, 0);
    writeReplyHeader(first, { length, unique: header.unique, error: 0 });
    const failed = (error: unknown): void => {
      reply.undo?.();
      if (this.#isGone(header, error)) return;
      this.refuse(header, new FsError('EIO', 'reply refused').errno);
    };
    if (length > smallReplyBytes + replyHeaderBytes) {
      return this.#device.write(reply.pieces).catch(failed);
    }
    try {
      this.#device.writeNow(reply.pieces);
    } catch (error) {
      failed(error);
    }
    return undefined;
  }

  /** @returns whether an answer did not arrive because the caller, or the mount, is gone */
  #isGone(header: RequestHeader, error: unknown): boolean {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENOTCONN' || code === 'EPERM') {
      return true;
    }
    const operation = operationName(header.opcode);
    this.#log.error({ operation, err: error }, 'the kernel refused a reply');
    return false;
  }
}
