/**
 * A process that mounts MemoryOperations and does what its parent says over IPC.
 *
 * A process must not wait for a mount it serves itself, so tests serve from here and look from there.
 * Arguments: the mount point, the driver, the core (`memory` or `instant`), and MountSettings members
 * as JSON.
 */
import { chooseDriver, type DriverOption } from '../../lib/fuse/choose.js';
import type { Mounted, MountSettings } from '../../lib/fuse/driver.js';
import { FsError, type Errno } from '../../lib/errors.js';
import { createLog } from '../../lib/observability/process-log.js';
import type { Path } from '../../lib/path.js';
import { InstantOperations } from './instant-operations.js';
import { MemoryOperations } from './memory-operations.js';

/** What the parent may ask; every answer is JSON. */
export interface Commands {
  set: (changes: Partial<Pick<MemoryOperations, 'delayMs' | 'validForMs' | 'recording'>>) => void;
  hang: (operation: string, how: 'hung' | 'deaf' | 'no') => void;
  fail: (operation: string, code: string | null) => void;
  gate: (operation: string, wanted: number) => void;
  replace: (path: string, text: string, tell: boolean) => void;
  vanish: (path: string, tell: boolean) => void;
  fill: (path: string, names: string[]) => void;
  records: () => string[];
  forgetRecords: () => void;
  inside: (operation: string) => number;
  mostInside: (operation: string) => number;
  handles: () => number;
  counters: () => Readonly<Record<string, number>>;
  limits: () => readonly string[];
  memory: () => { residentBytes: number; heapBytes: number; externalBytes: number };
  unmount: (lazy: boolean) => Promise<{ code?: string }>;
  throwLater: () => void;
}

const [mountPoint, driverName, coreName, extra = '{}'] = process.argv.slice(2);
if (mountPoint === undefined || process.send === undefined) {
  throw new Error('to be started by a test, with a mount point');
}
const operations = coreName === 'instant' ? new InstantOperations() : new MemoryOperations();

function commandsFor(mounted: Mounted): Commands {
  return {
    set: (changes) => void Object.assign(operations, changes),
    hang: (operation, how) => {
      operations.hung.delete(operation);
      operations.deaf.delete(operation);
      if (how !== 'no') operations[how].add(operation);
    },
    fail: (operation, code) => {
      operations.failures.delete(operation);
      if (code === null) return;
      const error = code === 'bug' ? new TypeError('a bug') : new FsError(code as Errno, 'told to');
      operations.failures.set(operation, error);
    },
    gate: (operation, wanted) => operations.gate(operation, wanted),
    replace: (path, text, tell) => operations.replace(path as Path, text, { tell }),
    vanish: (path, tell) => operations.vanish(path as Path, { tell }),
    fill: (path, names) => operations.fill(path as Path, names),
    records: () => operations.records,
    forgetRecords: () => void operations.records.splice(0),
    inside: (operation) => operations.inside.get(operation) ?? 0,
    mostInside: (operation) => operations.mostInside.get(operation) ?? 0,
    handles: () => operations.handles,
    counters: () => mounted.counters?.() ?? {},
    limits: () => mounted.limits,
    memory: () => {
      globalThis.gc?.();
      const { rss, heapUsed, external } = process.memoryUsage();
      return { residentBytes: rss, heapBytes: heapUsed, externalBytes: external };
    },
    unmount: async (lazy) => {
      try {
        await mounted.unmount({ lazy });
        return {};
      } catch (error) {
        return { code: error instanceof FsError ? error.code : String(error) };
      }
    },
    throwLater: () =>
      void setTimeout(() => {
        throw new Error('nobody catches this');
      }, 10),
  };
}

const settings: MountSettings = {
  mountPoint,
  source: 's3://bucket/prefix/',
  allowOther: true,
  readOnly: false,
  metadataTtlMs: 5000,
  log: createLog({ level: 'warn', format: 'text' }),
  ...(JSON.parse(extra) as Partial<MountSettings>),
};
const { driver } = await chooseDriver(driverName as DriverOption, settings.log);
const mounted = await driver.mount(operations, settings);
const commands = commandsFor(mounted);

process.on('message', (message: { id: number; name: keyof Commands; args: unknown[] }) => {
  void (async () => {
    const command = commands[message.name] as (...args: unknown[]) => unknown;
    process.send?.({ id: message.id, answer: await command(...message.args) });
  })();
});
process.send({ ready: true });
await mounted.unmounted;
process.send({ unmounted: true });
