/**
 * One connection to the kernel: reads requests, has them served at the same time, answers each once.
 *
 * Several reads are outstanding, so that the kernel finds somebody to take the next request while one
 * is being handed over; all serving happens on the main thread. A request is answered exactly once: by
 * its handler, or with EINTR when it was interrupted and its work does not end; what a late or
 * undeliverable answer handed out (an open handle, a lookup) is taken back. Bytes that make no sense
 * are answered EIO where there is somebody to answer, logged, and change nothing.
 */
import { FsError, systemErrorCode, toFsError } from '../../errors.js';
import type { Log } from '../../log.js';
import type { Call, Reply } from './call.js';
import type { Device } from './device.js';
import { RequestBuffers } from './device.js';
import { errnoFor, serviceOf, type Service } from './handlers.js';
import { InFlight, type Flight } from './in-flight.js';
import type { MountState } from './mount-state.js';
import {
  initFlag,
  maxPages,
  maxTransferBytes,
  opcode,
  operationName,
  protocolMajor,
  protocolMinor,
  protocolMinorLeast,
  pruneMinor,
  replyHeaderBytes,
  requestHeaderBytes,
} from './protocol.js';
import { wantsToStop } from './process-state.js';
import { emptyReply, initReply, writeReplyHeader } from './replies.js';
import {
  decodeHeader,
  decodeInit,
  decodeInterrupt,
  MalformedRequest,
  type RequestHeader,
} from './requests.js';
import { batchForget, forget } from './serve-names.js';

/** Replies up to this size are copied to the kernel on the main thread. */
const smallReplyBytes = 64 * 1024;
/**
 * Read-ahead and releases that the kernel may have under way; each up to 1 MiB. Near this number it
 * leaves out pages of the read-ahead (fuse_readahead in fs/fuse/file.c), and asks for them after those
 * that follow: many files read side by side would look like random reads.
 */
const maxBackground = 512;
/** Request buffers kept for reuse. */
const spareBuffersMax = 8;
/** With more buffers than this lent to writes under way, a write's data moves to a place of its size. */
const lentBuffersMax = 16;
/** Some 40 MB of nodes. */
const nodesMaxDefault = 131_072;
const forgetBatch = 512;
const forgetPauseMs = 500;

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

export interface SessionSettings {
  readonly device: Device;
  readonly state: MountState;
  readonly log: Log;
  /** reads outstanding at a time */
  readonly readers: number;
  /** callers to serve besides root; undefined for all */
  readonly allowUids: readonly number[] | undefined;
  /** nodes known before the kernel is asked to forget those that nobody uses; 131,072 */
  readonly nodesMax?: number;
}

/** What INIT brought. */
export interface Negotiated {
  readonly minor: number;
  readonly kernelMinor: number;
}

export class Session {
  readonly #device: Device;
  readonly #state: MountState;
  readonly #log: Log;
  readonly #readers: number;
  readonly #allowUids: ReadonlySet<number> | undefined;
  readonly #nodesMax: number;
  readonly #buffers = new RequestBuffers(spareBuffersMax);
  readonly #inFlight: InFlight;
  #requests = 0;
  readonly #requestsByName: Record<string, number> = {};
  #forgetting = false;
  #isEnding = false;
  #negotiated: Negotiated | undefined;

  constructor(settings: SessionSettings) {
    this.#device = settings.device;
    this.#state = settings.state;
    this.#log = settings.log;
    this.#readers = settings.readers;
    this.#nodesMax = settings.nodesMax ?? nodesMaxDefault;
    this.#allowUids =
      settings.allowUids === undefined ? undefined : new Set([0, ...settings.allowUids]);
    this.#inFlight = new InFlight({
      wantsToStop,
      answerInterrupted: (flight) => {
        flight.answered = true;
        const { errno } = new FsError('EINTR', 'interrupted');
        this.#answerError(flight.request, errno);
      },
    });
  }

  /** Figures for status and for tests that look for leaks. */
  get counters(): Readonly<Record<string, number>> {
    return {
      requests: this.#requests,
      inFlight: this.#inFlight.size,
      nodes: this.#state.nodes.size,
      openFiles: this.#state.files.size,
      openDirectories: this.#state.directories.size,
      releasing: this.#state.releasing.size,
      notices: this.#state.notices.sent,
      buffersLent: this.#buffers.lent,
    };
  }

  /** Requests served, by the protocol's names. */
  get requestsByName(): Readonly<Record<string, number>> {
    return { ...this.#requestsByName };
  }

  /**
   * Takes the first request, which is INIT, and answers it.
   * @throws Error a sentence for the operator if this kernel's protocol is too old; what the device
   *   throws, EPERM as long as nothing is mounted on it
   */
  async negotiate(): Promise<Negotiated> {
    while (this.#negotiated === undefined) {
      const buffer = this.#buffers.take();
      try {
        const length = await this.#device.read(buffer);
        this.#init(buffer.subarray(0, length));
      } finally {
        this.#buffers.give(buffer);
      }
    }
    return this.#negotiated;
  }

  /** Serves until the kernel lets the mount go; then every open handle has been released. */
  async serve(): Promise<void> {
    await Promise.all(Array.from({ length: this.#readers }, () => this.#readLoop()));
    this.#inFlight.abortAll();
    const state = this.#state;
    for (const [handle, file] of [...state.files]) {
      state.files.delete(handle);
      state.nodes.removeFile(file);
      state.release(handle);
    }
    for (const handle of [...state.directories.keys()]) {
      state.directories.delete(handle);
      state.operations.releasedir(handle);
    }
    await Promise.all([...state.releasing]);
    await this.#device.close();
  }

  /**
   * Ends the connection although the mount is to be seen somewhere yet, for all who see it: each reader
   * is woken from its read(2) and reads no more, and the device is closed then (fuse_dev_release).
   */
  async disconnect(): Promise<void> {
    this.#isEnding = true;
    for (let reader = 0; reader < this.#readers; reader++) {
      await this.#state.notices.wakeReader(this.#state.nodes.root.id);
    }
  }

  /** Gives the device up without having served. */
  close(): Promise<void> {
    return this.#device.close();
  }

  async #readLoop(): Promise<void> {
    let buffer = this.#buffers.take();
    let next = this.#device.read(buffer);
    for (;;) {
      let length: number;
      try {
        length = await next;
      } catch (error) {
        if (this.#isOver(error)) break;
        next = this.#device.read(buffer);
        continue;
      }
      if (this.#isEnding) {
        this.#receive(buffer, length);
        return;
      }
      // The next read is under way before this request is looked at.
      const filled = buffer;
      buffer = this.#buffers.take();
      next = this.#device.read(buffer);
      this.#receive(filled, length);
    }
    this.#buffers.give(buffer);
  }

  #isOver(error: unknown): boolean {
    const code = systemErrorCode(error);
    // ENOENT: the request was taken back before it was read; EIO: it was too large to be one.
    if (code === 'ENOENT' || code === 'EINTR' || code === 'EAGAIN' || code === 'EIO') return false;
    if (code !== 'ENODEV' && code !== 'ECONNABORTED') {
      this.#log.error({ err: error }, 'reading from /dev/fuse failed');
    }
    return true;
  }

  #init(bytes: Buffer): void {
    const header = decodeHeader(bytes);
    if (header.opcode !== opcode.init) throw new MalformedRequest('the first request is no INIT');
    const asked = decodeInit(bytes.subarray(requestHeaderBytes));
    if (asked.major > protocolMajor) {
      // The kernel comes down to our major version with another INIT.
      void this.#deliver(header, { pieces: [initReply(this.#initView(asked))] });
      return;
    }
    if (asked.major < protocolMajor || asked.minor < protocolMinorLeast) {
      this.#answerError(header, new FsError('EIO', 'protocol too old').errno);
      throw new Error(
        `this kernel speaks FUSE ${asked.major}.${asked.minor}; ` +
          `${protocolMajor}.${protocolMinorLeast} (Linux 5.4) is needed`,
      );
    }
    void this.#deliver(header, { pieces: [initReply(this.#initView(asked))] });
    const minor = Math.min(asked.minor, protocolMinor);
    this.#state.notices.canPrune = asked.minor >= pruneMinor;
    this.#negotiated = { minor, kernelMinor: asked.minor };
  }

  #initView(asked: {
    minor: number;
    maxReadahead: number;
    flags: number;
  }): Parameters<typeof initReply>[0] {
    return {
      minor: Math.min(asked.minor, protocolMinor),
      maxReadahead: asked.maxReadahead,
      flags: asked.flags & wantedFlags,
      maxBackground,
      maxWrite: maxTransferBytes,
      maxPages,
    };
  }

  /** Takes one request in a lent buffer; the buffer goes back when nothing looks at it any more. */
  #receive(buffer: Buffer, length: number): void {
    this.#requests += 1;
    let bytes = buffer.subarray(0, length);
    let lent: Buffer | undefined = buffer;
    const giveBack = (): void => {
      if (lent !== undefined) this.#buffers.give(lent);
      lent = undefined;
    };
    try {
      const header = decodeHeader(bytes);
      const keeps = header.opcode === opcode.write;
      if (keeps && this.#buffers.lent > lentBuffersMax) {
        bytes = Buffer.from(bytes);
        giveBack();
      }
      const settled = this.#dispatch(header, bytes.subarray(requestHeaderBytes));
      if (keeps && settled !== undefined) void settled.finally(giveBack);
      else giveBack();
    } catch (error) {
      // Only a header that is no header gets here, so there is nobody to answer.
      giveBack();
      this.#log.error({ err: error }, 'the kernel sent bytes that are no request');
    }
    this.#keepNodesFew();
  }

  #dispatch(header: RequestHeader, body: Buffer): Promise<void> | undefined {
    try {
      switch (header.opcode) {
        case opcode.forget:
          forget(this.#state, { header, body });
          return undefined;
        case opcode.batchForget:
          batchForget(this.#state, { body });
          return undefined;
        case opcode.interrupt:
          this.#inFlight.interrupt(decodeInterrupt(body));
          return undefined;
        case opcode.notifyReply:
          return undefined;
        case opcode.destroy:
          void this.#deliver(header, { pieces: [emptyReply()] });
          return undefined;
        default:
          return this.#serve(header, body);
      }
    } catch (error) {
      // FORGET and INTERRUPT have no reply that could tell.
      this.#log.error({ operation: operationName(header.opcode), err: error }, 'malformed request');
      return undefined;
    }
  }

  #serve(header: RequestHeader, body: Buffer): Promise<void> | undefined {
    const name = operationName(header.opcode)?.toUpperCase() ?? 'OTHER';
    this.#requestsByName[name] = (this.#requestsByName[name] ?? 0) + 1;
    const service = serviceOf(header.opcode);
    if (service === undefined) {
      this.#answerError(header, new FsError('ENOSYS', 'not offered').errno);
      return undefined;
    }
    if (service.checked && !this.#isAllowed(header)) {
      this.#answerError(header, new FsError('EACCES', 'not for this user').errno);
      return undefined;
    }
    const flight = this.#inFlight.begin(header, service.changes);
    const outcome = this.#start(service, { flight, body });
    if (!(outcome instanceof Promise)) {
      this.#finish(flight, outcome);
      return undefined;
    }
    return outcome
      .then((reply) => this.#finish(flight, reply))
      .catch((error: unknown) => this.#log.error({ err: error }, 'answering a request failed'));
  }

  /** STATFS tells nothing of what is inside, and is how a mount asks whether it answers itself. */
  #isAllowed({ uid, opcode: code }: RequestHeader): boolean {
    if (this.#allowUids === undefined || this.#allowUids.has(uid)) return true;
    return code === opcode.statfs && uid === process.geteuid?.();
  }

  /** Runs a handler; every failure becomes an errno here. */
  #start(
    service: Service,
    options: { flight: Flight; body: Buffer },
  ): Reply | number | Promise<Reply | number> {
    const { flight, body } = options;
    const header = flight.request;
    const call: Call = {
      header,
      body,
      context: flight.context,
      makeDeaf: (options) => this.#inFlight.makeDeaf(header.unique, options),
    };
    const failed = (error: unknown): number => this.#errnoOf(header, error);
    try {
      const outcome = service.serve(this.#state, call);
      return outcome instanceof Promise ? outcome.catch(failed) : outcome;
    } catch (error) {
      return failed(error);
    }
  }

  #errnoOf(header: RequestHeader, error: unknown): number {
    const errno = errnoFor(header.opcode, error, this.#log);
    const operation = operationName(header.opcode);
    const reason = toFsError(error).message;
    this.#log.debug({ operation, node: header.nodeId, pid: header.pid, errno, reason }, 'refused');
    return errno;
  }

  #finish(flight: Flight, outcome: Reply | number): void {
    this.#inFlight.end(flight);
    if (flight.answered) {
      if (typeof outcome !== 'number') outcome.undo?.();
      giveBack(flight);
      return;
    }
    flight.answered = true;
    if (typeof outcome === 'number') this.#answerError(flight.request, outcome);
    else {
      const writing = this.#deliver(flight.request, outcome);
      if (writing !== undefined) {
        void writing.then(() => giveBack(flight));
        return;
      }
    }
    giveBack(flight);
  }

  #answerError(header: RequestHeader, errno: number): void {
    const bytes = emptyReply();
    writeReplyHeader(bytes, { length: bytes.length, unique: header.unique, error: errno });
    try {
      this.#device.writeNow([bytes]);
    } catch (error) {
      this.#undelivered(header, error);
    }
  }

  /** @returns what settles when the pieces are not looked at any more; undefined if that is now */
  #deliver(header: RequestHeader, reply: Reply): Promise<void> | undefined {
    const [first] = reply.pieces;
    if (!(first instanceof Buffer)) return undefined;
    const length = reply.pieces.reduce((sum, piece) => sum + piece.length, 0);
    writeReplyHeader(first, { length, unique: header.unique, error: 0 });
    const failed = (error: unknown): void => {
      reply.undo?.();
      if (this.#undelivered(header, error)) return;
      this.#answerError(header, new FsError('EIO', 'reply refused').errno);
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

  /** @returns whether that is no more than a caller, or the mount, that is gone */
  #undelivered(header: RequestHeader, error: unknown): boolean {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENOTCONN' || code === 'EPERM')
      return true;
    const operation = operationName(header.opcode);
    this.#log.error({ operation, err: error }, 'the kernel refused a reply');
    return false;
  }

  /**
   * Keeps the table from growing with the kernel's cache, which has the whole machine's memory: asks it
   * to drop what nobody uses, a batch at a time.
   */
  #keepNodesFew(): void {
    const { nodes, notices } = this.#state;
    if (nodes.size <= this.#nodesMax || this.#forgetting) return;
    this.#forgetting = true;
    const batch = nodes.idleNodes(forgetBatch, { directories: notices.canPrune });
    // Where little was found, all is in use or asked for already.
    const pauseMs = batch.length < forgetBatch / 2 ? forgetPauseMs : 0;
    void notices.forget(batch).then(() => {
      setTimeout(() => (this.#forgetting = false), pauseMs).unref();
    });
  }
}

/** The core may use the memory of what it answered again. */
function giveBack({ lent }: Flight): void {
  for (const back of lent.splice(0)) back();
}
