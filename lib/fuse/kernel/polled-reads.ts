/**
 * Reads a descriptor on the main thread whenever epoll(7) says that something is there. To hand each
 * read to a thread of libuv's pool, and back what it brought, costs more than all else that most
 * requests need.
 *
 * Node.js has no public way to poll what is neither a pipe, a socket nor a terminal. The handle of its
 * pipes takes whatever can be polled; where a Node.js does not give it away, `PolledReads.on` says so.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import type { ConnectOpts, SocketConstructorOpts } from 'node:net';

/** Who is handed what comes. */
export interface Receiver {
  /** room for what comes next */
  room(): Buffer;
  /** `length` bytes came into the `buffer` that `room` gave, which is the receiver's now. */
  take(buffer: Buffer, length: number): void;
}

/** lib/internal of Node.js: what is behind a net.Socket on a pipe. */
interface PipeHandle {
  /** @returns 0, or a negative errno */
  open(descriptor: number): number;
  close(done: () => void): void;
}

interface PipeWrap {
  readonly Pipe: new (type: number) => PipeHandle;
  readonly constants: { readonly SOCKET: number };
}

export class PolledReads {
  readonly #handle: PipeHandle;
  readonly #close: PipeHandle['close'];

  private constructor(handle: PipeHandle) {
    this.#handle = handle;
    this.#close = handle.close.bind(handle);
    // A socket closes its handle once a read fails, when others may still write to the descriptor.
    handle.close = (done) => setImmediate(done);
  }

  /** Owns the descriptor from now on, which blocks no more; undefined where it cannot be polled. */
  static on(descriptor: number): PolledReads | undefined {
    const { binding } = process as unknown as { binding?: (name: string) => Partial<PipeWrap> };
    const { Pipe, constants } = binding?.('pipe_wrap') ?? {};
    if (Pipe === undefined || constants === undefined) return undefined;
    const handle = new Pipe(constants.SOCKET);
    return handle.open(descriptor) === 0 ? new PolledReads(handle) : undefined;
  }

  /** Hands over what comes, until a read fails. For once. @throws its system error */
  async receive(receiver: Receiver): Promise<void> {
    const options: SocketConstructorOpts & ConnectOpts & { handle: PipeHandle } = {
      handle: this.#handle,
      writable: false,
      onread: {
        buffer: () => receiver.room(),
        callback: (length, buffer) => {
          receiver.take(buffer as Buffer, length);
          return true;
        },
      },
    };
    await once(new Socket(options), 'close');
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#close(resolve));
  }
}
