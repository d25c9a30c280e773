/**
 * One connection to the kernel: reads requests, has them served at the same time, answers each once.
 *
 * All serving happens on the main thread. A request is answered exactly once: by
 * its handler, or with EINTR when it was interrupted and its work does not end; what a late or
 * undeliverable answer handed out (an open handle, a lookup) is taken back. Bytes that make no sense
 * are answered EIO where the request can be told, logged, and change nothing.
 */
import { FsError, systemErrorCode, toFsError } from '../../errors.js';
import type { Log } from '../../log.js';
import { Answers } from './answers.js';
import type { Call, Outcome } from './call.js';
import type { Device } from './device.js';
import { RequestBuffers } from './device.js';
import { errnoFor, serviceOf, type Service } from './handlers.js';
import { Flight, InFlight } from './in-flight.js';
import type { MountState } from './mount-state.js';
import { answerInit, ProtocolTooOld } from './negotiation.js';
import type { Negotiated } from './negotiation.js';
import { NodeLimit } from './node-limit.js';
import { opcode, operationName, pruneMinor, requestHeaderBytes } from './protocol.js';
import { wantsToStop } from './process-state.js';
import { emptyReply } from './replies.js';
import { decodeHeader, decodeInterrupt, type RequestHeader } from './requests.js';
import { batchForget, forget } from './serve-names.js';

/** Request buffers kept for reuse. */
const spareBuffersMax = 8;
/** With more buffers than this lent to writes under way, a write's data moves to a place of its size. */
const lentBuffersMax = 16;
/** Of a read: the mount is gone, taken away or cut; what was being read then was taken back. */
const over: readonly unknown[] = ['ENODEV', 'ECONNABORTED', 'ENOENT'];

export interface SessionSettings {
  readonly device: Device;
  readonly state: MountState;
  readonly log: Log;
  /** nodes known before the kernel is asked to forget those that nobody uses; 131,072 */
  readonly nodesMax?: number;
}

export class Session {
  readonly #device: Device;
  readonly #state: MountState;
  readonly #log: Log;
  readonly #answers: Answers;
  readonly #nodeLimit: NodeLimit;
  readonly #buffers = new RequestBuffers(spareBuffersMax);
  readonly #inFlight: InFlight;
  #requests = 0;
  /** by opcode */
  readonly #served = new Map<number, number>();
  #negotiated: Negotiated | undefined;

  constructor(settings: SessionSettings) {
    this.#device = settings.device;
    this.#state = settings.state;
    this.#log = settings.log;
    this.#answers = new Answers(settings.device, settings.log);
    this.#nodeLimit = new NodeLimit(settings.state, settings.nodesMax);
    this.#inFlight = new InFlight({
      wantsToStop,
      answerInterrupted: (flight) => {
        flight.answered = true;
        const { errno } = new FsError('EINTR', 'interrupted');
        this.#answers.refuse(flight.request, errno);
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
    const counts: Record<string, number> = {};
    for (const [code, count] of this.#served) {
      const name = operationName(code)?.toUpperCase() ?? 'OTHER';
      counts[name] = (counts[name] ?? 0) + count;
    }
    return counts;
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
    await this.#receiveAll();
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

  /** Gives the device up without having served. */
  close(): Promise<void> {
    return this.#device.close();
  }

  /** Until no request can come any more. */
  async #receiveAll(): Promise<void> {
    try {
      await this.#device.receive({
        room: () => this.#buffers.take(),
        take: (buffer, length) => this.#receive(buffer, length),
      });
    } catch (error) {
      if (over.includes(systemErrorCode(error))) return;
      this.#log.error({ err: error }, 'reading from /dev/fuse failed');
    }
  }

  #init(bytes: Buffer): void {
    try {
      const { header, reply, negotiated } = answerInit(bytes);
      void this.#answers.deliver(header, { pieces: [reply] });
      this.#negotiated = negotiated;
      this.#state.notices.canPrune = (negotiated?.kernelMinor ?? 0) >= pruneMinor;
    } catch (error) {
      if (error instanceof ProtocolTooOld) this.#answers.refuse(error.header, error.errno);
      throw error;
    }
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
    this.#nodeLimit.enforce();
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
        case opcode.destroy:
          void this.#answers.deliver(header, { pieces: [emptyReply()] });
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
    this.#served.set(header.opcode, (this.#served.get(header.opcode) ?? 0) + 1);
    const service = serviceOf(header.opcode);
    if (service === undefined) {
      this.#answers.refuse(header, new FsError('ENOSYS', 'not offered').errno);
      return undefined;
    }
    const flight = new Flight(header, service.changes);
    const outcome = this.#start(service, { flight, body });
    if (!(outcome instanceof Promise)) {
      this.#finish(flight, outcome);
      return undefined;
    }
    this.#inFlight.add(flight);
    return outcome
      .then((reply) => this.#finish(flight, reply))
      .catch((error: unknown) => this.#log.error({ err: error }, 'answering a request failed'));
  }

  /** Runs a handler for who may; every failure becomes an errno here. */
  #start(service: Service, options: { flight: Flight; body: Buffer }): Outcome | Promise<Outcome> {
    const { flight, body } = options;
    const header = flight.request;
    const call: Call = {
      header,
      body,
      context: flight,
      makeUninterruptible: (options) => this.#inFlight.makeUninterruptible(flight, options),
    };
    const failed = (error: unknown): number => this.#errnoOf(header, error);
    try {
      const admitted = this.#state.access.admits(service.entitled, header);
      if (admitted instanceof Promise)
        return this.#serveOnce(admitted, service, call).catch(failed);
      if (!admitted) return failed(notForCaller());
      const outcome = service.serve(this.#state, call);
      return outcome instanceof Promise ? outcome.catch(failed) : outcome;
    } catch (error) {
      return failed(error);
    }
  }

  /** The request's buffer is not its own any more by the time that is known. */
  async #serveOnce(admitted: Promise<boolean>, service: Service, call: Call): Promise<Outcome> {
    const body = Buffer.from(call.body);
    if (!(await admitted)) throw notForCaller();
    return await service.serve(this.#state, { ...call, body });
  }

  #errnoOf(header: RequestHeader, error: unknown): number {
    const errno = errnoFor(header.opcode, error, this.#log);
    const operation = operationName(header.opcode);
    const reason = toFsError(error).message;
    this.#log.debug({ operation, node: header.nodeId, pid: header.pid, errno, reason }, 'refused');
    return errno;
  }

  #finish(flight: Flight, outcome: Outcome): void {
    this.#inFlight.end(flight);
    if (flight.answered) {
      if (typeof outcome !== 'number') outcome.undo?.();
      flight.giveBack();
      return;
    }
    flight.answered = true;
    if (typeof outcome === 'number') this.#answers.refuse(flight.request, outcome);
    else {
      const writing = this.#answers.deliver(flight.request, outcome);
      if (writing !== undefined) {
        void writing.then(() => flight.giveBack());
        return;
      }
    }
    flight.giveBack();
  }
}

function notForCaller(): FsError {
  return new FsError('EACCES', 'not for this user');
}
