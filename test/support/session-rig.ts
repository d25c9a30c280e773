/** A session of the kernel driver on a fake device, over the toy core, and requests as the kernel sends them. */
import { constants } from 'node:os';
import type { Test } from 'tap';
import type { Errno } from '../../lib/errors.js';
import type { HomeOwners } from '../../lib/fuse/driver.js';
import { HomeAccess, MountAccess } from '../../lib/fuse/kernel/access.js';
import { MountState } from '../../lib/fuse/kernel/mount-state.js';
import { NodeTable } from '../../lib/fuse/kernel/node-table.js';
import { Notices } from '../../lib/fuse/kernel/notices.js';
import { opcode } from '../../lib/fuse/kernel/protocol.js';
import { Session } from '../../lib/fuse/kernel/session.js';
import { silentLog, type Log } from '../../lib/log.js';
import {
  FakeDevice,
  initBody,
  name,
  request,
  struct,
  type Message,
  type RequestFacts,
} from './fake-device.js';
import { ManualClock } from './manual-clock.js';
import { MemoryOperations } from './memory-operations.js';

/** An answer's error for this errno. */
export const errno = (code: Errno): number => -constants.errno[code];

interface RigOptions {
  readonly allowUids?: readonly number[];
  readonly owners?: HomeOwners;
  readonly closedAncestor?: { isThere: boolean };
  readonly minor?: number;
}

/** A session on a fake device, over the toy core. */
export class Rig {
  readonly device = new FakeDevice();
  readonly core = new MemoryOperations();
  readonly clock = new ManualClock();
  readonly logged: string[] = [];
  readonly state: MountState;
  readonly session: Session;
  #unique = 2;

  constructor(options: RigOptions = {}) {
    const log: Log = {
      ...silentLog,
      error: (_fields, message) => this.logged.push(message),
      warn: (_fields, message) => this.logged.push(message),
    };
    const nodes = new NodeTable();
    const state = new MountState({
      operations: this.core,
      nodes,
      access:
        options.owners === undefined
          ? new MountAccess(nodes, options.allowUids, options.closedAncestor)
          : new HomeAccess(nodes, options.owners, options.closedAncestor),
      notices: new Notices(this.device, log),
      log,
      metadataTtlMs: 5000,
      clock: this.clock,
    });
    this.state = state;
    const { device } = this;
    this.session = new Session({ device, state, log, nodesMax: 100 });
  }

  /** Negotiates and serves until the test ends. */
  static async start(t: Test, options: RigOptions = {}): Promise<Rig> {
    const rig = new Rig(options);
    const body = initBody(7, options.minor ?? 45);
    rig.device.push(request({ opcode: opcode.init, unique: 2, body }));
    await rig.session.negotiate();
    const served = rig.session.serve();
    t.teardown(async () => {
      rig.device.end();
      await served;
    });
    return rig;
  }

  /** Sends a request and does not wait. @returns its number */
  send(facts: Omit<RequestFacts, 'unique'>): number {
    this.#unique += 2;
    this.device.push(request({ ...facts, unique: this.#unique }));
    return this.#unique;
  }

  ask(facts: Omit<RequestFacts, 'unique'>): Promise<Message> {
    return this.device.answer(this.send(facts));
  }

  async lookup(text: string, nodeId = 1): Promise<number> {
    const { error, body } = await this.ask({ opcode: opcode.lookup, nodeId, body: name(text) });
    if (error !== 0) throw new Error(`LOOKUP ${text}: ${error}`);
    return Number(body.readBigUInt64LE(0));
  }

  /** @returns handle and FOPEN flags */
  async open(nodeId: number, flags: number): Promise<{ handle: number; flags: number }> {
    const body = struct([4, flags], [4, 0]);
    const answer = await this.ask({ opcode: opcode.open, nodeId, body });
    if (answer.error !== 0) throw new Error(`OPEN: ${answer.error}`);
    return { handle: Number(answer.body.readBigUInt64LE(0)), flags: answer.body.readUInt32LE(8) };
  }
}

export const readOnly = 0;
export const writeOnly = 1;
export const handleBody = (handle: number): Buffer => struct([8, handle], [8, 0], [8, 0]);
export const getattrBody = struct([4, 0], [4, 0], [8, 0]);
export const readBody = (handle: number, offset: number, size: number): Buffer =>
  struct([8, handle], [8, offset], [4, size], [4, 0], [8, 0], [4, 0], [4, 0]);
