/** INIT, the first request: which protocol is spoken, and what is offered of it. */
import { FsError } from '../../errors.js';
import {
  initFlag,
  maxPages,
  maxTransferBytes,
  opcode,
  protocolMajor,
  protocolMinor,
  protocolMinorLeast,
  requestHeaderBytes,
} from './protocol.js';
import { initReply } from './replies.js';
import { decodeHeader, decodeInit, MalformedRequest } from './requests.js';
import type { RequestHeader } from './requests.js';

/**
 * Read-ahead and releases that the kernel may have under way; each up to 1 MiB. Near this number it
 * leaves out pages of the read-ahead (fuse_readahead in fs/fuse/file.c), and asks for them after those
 * that follow: many files read side by side would look like random reads.
 */
const maxBackground = 512;

const wantedFlags =
  initFlag.asyncRead |
  initFlag.atomicOTrunc |
  initFlag.bigWrites |
  initFlag.autoInvalData |
  initFlag.doReaddirplus |
  initFlag.readdirplusAuto |
  initFlag.asyncDio |
  initFlag.parallelDirops |
  initFlag.handleKillpriv |
  initFlag.handleKillprivV2 |
  initFlag.maxPages;

/** What INIT brought. */
export interface Negotiated {
  readonly minor: number;
  readonly kernelMinor: number;
}

/** How INIT is answered. */
export interface InitAnswer {
  readonly header: RequestHeader;
  readonly reply: Buffer;
  /** undefined where the kernel comes down to our major version with another INIT */
  readonly negotiated: Negotiated | undefined;
}

/** This kernel's protocol is too old. Its message is a sentence for the operator. */
export class ProtocolTooOld extends Error {
  readonly header: RequestHeader;
  readonly errno = new FsError('EIO', 'protocol too old').errno;

  constructor(header: RequestHeader, { major, minor }: { major: number; minor: number }) {
    super(
      `this kernel speaks FUSE ${major}.${minor}; ` +
        `${protocolMajor}.${protocolMinorLeast} (Linux 5.4) is needed`,
    );
    this.header = header;
  }
}

/** @throws ProtocolTooOld; MalformedRequest where it is no INIT */
export function answerInit(bytes: Buffer): InitAnswer {
  const header = decodeHeader(bytes);
  if (header.opcode !== opcode.init) throw new MalformedRequest('the first request is no INIT');
  const asked = decodeInit(bytes.subarray(requestHeaderBytes));
  if (asked.major < protocolMajor) throw new ProtocolTooOld(header, asked);
  const isNewer = asked.major > protocolMajor;
  if (!isNewer && asked.minor < protocolMinorLeast) throw new ProtocolTooOld(header, asked);
  const minor = Math.min(asked.minor, protocolMinor);
  const reply = initReply({
    minor,
    maxReadahead: asked.maxReadahead,
    flags: asked.flags & wantedFlags,
    maxBackground,
    maxWrite: maxTransferBytes,
    maxPages,
  });
  const negotiated = isNewer ? undefined : { minor, kernelMinor: asked.minor };
  return { header, reply, negotiated };
}
