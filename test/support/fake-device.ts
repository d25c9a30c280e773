/**
 * The kernel's side of /dev/fuse for tests: requests are handed in as bytes, messages come out as
 * bytes. Layouts are written here by offset from include/uapi/linux/fuse.h, apart from the driver's
 * own encoders, so that both can be compared.
 */
import type { Device } from '../../lib/fuse/kernel/device.js';
import type { Receiver } from '../../lib/fuse/kernel/polled-reads.js';

/** A Node system error with this code. */
export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

export interface Message {
  readonly error: number;
  readonly unique: number;
  readonly body: Buffer;
}

export class FakeDevice implements Device {
  /** whole messages, in the order they were written */
  readonly messages: Message[] = [];
  /** what the next writes fail with */
  readonly writeFailures: Error[] = [];
  closed = false;
  readonly #requests: Buffer[] = [];
  #receiver: Receiver | undefined;
  #isOver: ((error: Error) => void) | undefined;
  readonly #watchers: (() => void)[] = [];
  #gone = false;

  /** The first request was handed in before. */
  read(buffer: Buffer): Promise<number> {
    const request = this.#requests.shift() ?? Buffer.alloc(0);
    return Promise.resolve(request.copy(buffer));
  }

  receive(receiver: Receiver): Promise<void> {
    this.#receiver = receiver;
    return new Promise((_, reject) => {
      this.#isOver = reject;
      this.#feed();
    });
  }

  writeNow(pieces: readonly Uint8Array[]): void {
    const failure = this.writeFailures.shift();
    if (failure !== undefined) throw failure;
    const bytes = Buffer.concat(pieces);
    if (bytes.readUInt32LE(0) !== bytes.length) throw systemError('EINVAL');
    this.messages.push({
      error: bytes.readInt32LE(4),
      unique: Number(bytes.readBigUInt64LE(8)),
      body: bytes.subarray(16),
    });
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  write(pieces: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      this.writeNow(pieces);
      resolve();
    });
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** The kernel has a request. */
  push(request: Buffer): void {
    this.#requests.push(request);
    this.#feed();
  }

  /** The kernel lets the mount go. */
  end(): void {
    this.#gone = true;
    this.#feed();
  }

  /** The answer to the request `unique`, once it is there. */
  async answer(unique: number): Promise<Message> {
    for (;;) {
      const found = this.messages.find((message) => message.unique === unique);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  #feed(): void {
    for (;;) {
      const request = this.#receiver && this.#requests.shift();
      if (request === undefined) break;
      const buffer = this.#receiver?.room() ?? Buffer.alloc(0);
      this.#receiver?.take(buffer, request.copy(buffer));
    }
    if (this.#gone) this.#isOver?.(systemError('ENODEV'));
  }
}

/** A struct from its members' sizes in bytes and values. */
export function struct(
  ...members: (readonly [bytes: 2 | 4 | 8, value: number | bigint])[]
): Buffer {
  return Buffer.concat(
    members.map(([bytes, value]) => {
      const part = Buffer.alloc(bytes);
      if (bytes === 8) part.writeBigInt64LE(BigInt(value));
      else part.writeUIntLE(Number(value) >>> 0, 0, bytes);
      return part;
    }),
  );
}

export interface RequestFacts {
  readonly opcode: number;
  readonly unique: number;
  readonly nodeId?: number;
  readonly uid?: number;
  readonly pid?: number;
  readonly body?: Buffer;
}

/** fuse_in_header and a body. */
export function request(facts: RequestFacts): Buffer {
  const { opcode, unique, nodeId = 1, uid = 0, pid = 0, body = Buffer.alloc(0) } = facts;
  const header = struct(
    [4, 40 + body.length],
    [4, opcode],
    [8, unique],
    [8, nodeId],
    [4, uid],
    [4, 0],
    [4, pid],
    [4, 0],
  );
  return Buffer.concat([header, body]);
}

/** A name as requests carry it. */
export function name(text: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(text), Buffer.alloc(1)]);
}

/** fuse_init_in of 7.36 and newer. */
export function initBody(major: number, minor: number, flags = 0xffffffff): Buffer {
  const start = struct([4, major], [4, minor], [4, 131072], [4, flags]);
  return Buffer.concat([start, Buffer.alloc(minor >= 36 ? 48 : 0)]);
}
