/**
 * Notices to the kernel that something it keeps is no longer so.
 *
 * Two kinds, for two reasons. The attributes of a node are dropped without waiting for any lock, so
 * that one may be sent at once, also before the reply to a request. An entry is dropped under the lock
 * of its directory, which a LOOKUP of that directory holds until it is answered, and content once no page
 * of it is being read: such a notice goes through the pool, one after the other so that they never take
 * more than one of its threads, and nobody waits for it. It also holds up new lookups of that directory meanwhile, so it is sent only
 * where nothing else would do; a stale name is otherwise noticed by the ESTALE that its node answers,
 * on which the kernel looks again by itself.
 */
import { systemErrorCode } from '../../errors.js';
import type { Log } from '../../log.js';
import type { Device } from './device.js';
import type { Node } from './node-table.js';
import { attributesNotice, contentNotice, entryNotice, pruneNotice } from './replies.js';

/** The kernel does not know the node or name (any more), or the mount is going. */
const expected: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'ENOTCONN', 'ENODEV', 'EPERM', 'EBADF'];

/** Entries dropped at a time to keep the node table small; each may hold a thread of the pool. */
const entriesAtOnce = 3;

export class Notices {
  readonly #device: Device;
  readonly #log: Log;
  /** those that may wait, each once */
  readonly #queued = new Map<string, Buffer>();
  #sending: Promise<void> | undefined;
  #sent = 0;
  /** whether this kernel knows FUSE_NOTIFY_PRUNE */
  canPrune = false;

  constructor(device: Device, log: Log) {
    this.#device = device;
    this.#log = log;
  }

  /** How many were sent, of both kinds. */
  get sent(): number {
    return this.#sent;
  }

  /** The kernel asks again before it shows size or times of this node. Done when this returns. */
  attributes(nodeId: number): void {
    this.#sent += 1;
    try {
      this.#device.writeNow([attributesNotice(nodeId)]);
    } catch (error) {
      this.#judge(error);
    }
  }

  /** The kernel drops what it keeps of a file's content, once nothing of it is being read. */
  pages(nodeId: number): void {
    this.#queue(`${nodeId}`, contentNotice(nodeId));
  }

  /** The kernel drops the entry `name` of the directory, some time soon. */
  entry(parentId: number, name: string): void {
    this.#queue(`${parentId}/${name}`, entryNotice(parentId, name));
  }

  /**
   * The kernel is to forget these nodes, where nobody uses them. Without FUSE_NOTIFY_PRUNE the entries
   * of directories must be left alone: one may be somebody's working directory, and getcwd(3) fails in
   * a directory whose entry was dropped.
   */
  async forget(nodes: readonly Node[]): Promise<void> {
    if (this.canPrune) {
      await this.#send(pruneNotice(nodes.map((node) => node.id)));
      return;
    }
    const left = nodes.values();
    const sendRest = async (): Promise<void> => {
      for (const { parent, name } of left) {
        if (parent !== undefined) await this.#send(entryNotice(parent.id, name));
      }
    };
    await Promise.all(Array.from({ length: entriesAtOnce }, sendRest));
  }

  async #send(message: Buffer): Promise<void> {
    this.#sent += 1;
    try {
      await this.#device.write([message]);
    } catch (error) {
      this.#judge(error);
    }
  }

  #queue(key: string, message: Buffer): void {
    this.#queued.set(key, message);
    this.#sending ??= this.#sendQueued();
  }

  async #sendQueued(): Promise<void> {
    // Whoever queues more before this has had its turn is served by the same round.
    await Promise.resolve();
    for (const [key, message] of this.#queued) {
      this.#queued.delete(key);
      await this.#send(message);
    }
    this.#sending = undefined;
  }

  #judge(error: unknown): void {
    if (expected.includes(systemErrorCode(error))) return;
    this.#log.warn({ err: error }, 'the kernel refused an invalidation notice');
  }
}
