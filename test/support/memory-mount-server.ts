/**
 * A process that mounts the toy core through a driver and takes orders over its IPC channel. A
 * process of its own, because one that serves a mount must not wait for it.
 *
 * Arguments: driver name, mount point, settings as JSON.
 */
import { FsError, type Errno } from '../../lib/errors.js';
import { chooseDriver } from '../../lib/fuse/choose.js';
import type { Mounted } from '../../lib/fuse/driver.js';
import type { Log } from '../../lib/log.js';
import { parsePath } from '../../lib/path.js';
import { MemoryOperations } from './memory-operations.js';
import type { Order, ServerSettings } from './memory-mount.js';

const core = new MemoryOperations();
const logged: string[] = [];
const keep = (fields: object, message: string): void => {
  logged.push(`${message} ${JSON.stringify(fields)}`);
};
const log: Log = { error: keep, warn: keep, info: () => undefined, debug: () => undefined };

let mounted: Mounted | undefined;

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'records':
      return core.records.splice(0);
    case 'logged':
      return logged;
    case 'limits':
      return mounted?.limits;
    case 'handles':
      return core.handles;
    case 'delay':
      core.delayMs = order.ms;
      return undefined;
    case 'fail':
      if (order.errno === undefined) core.failures.delete(order.operation);
      else core.failures.set(order.operation, failure(order.errno));
      return undefined;
    case 'replace': {
      core.replace(parsePath(order.path), order.text);
      return;
    }
    case 'vanish': {
      core.vanish(parsePath(order.path));
      return;
    }
    case 'fill': {
      core.fill(parsePath('/'), order.names);
      return;
    }
    case 'unmount':
      return mounted?.unmount({ lazy: order.lazy });
  }
}

function failure(errno: string): Error {
  return errno === 'bug' ? new TypeError('a bug') : new FsError(errno as Errno, 'made to fail');
}

/** Resolves when the message is on its way: a channel closed earlier would lose it. */
async function say(message: object): Promise<void> {
  await new Promise<void>((resolve) => process.send?.(message, () => resolve()));
}

async function answer(id: number, order: Order): Promise<void> {
  try {
    await say({ id, value: await obey(order) });
  } catch (error) {
    const code = error instanceof FsError ? error.code : undefined;
    await say({ id, error: String(error), code });
  }
}

const answers = new Set<Promise<void>>();
process.on('message', ({ id, order }: { id: number; order: Order }) => {
  const answered = answer(id, order).finally(() => answers.delete(answered));
  answers.add(answered);
});

const [name = '', mountPoint = '', settings = '{}'] = process.argv.slice(2);
const { source, allowOther, readOnly, owner } = JSON.parse(settings) as ServerSettings;
try {
  const { driver } = await chooseDriver(name as 'kernel' | 'fuse-native', log);
  mounted = await driver.mount(core, {
    mountPoint,
    source: source ?? 's3://bucket/prefix/',
    allowOther: allowOther ?? false,
    readOnly: readOnly ?? false,
    owner,
    metadataTtlMs: 1000,
    log,
  });
  await say({ mounted: true });
  await mounted.unmounted;
  await Promise.all(answers);
  await say({ unmounted: true });
  process.disconnect();
} catch (error) {
  await say({ failed: error instanceof Error ? error.message : String(error) });
  process.disconnect();
  process.exitCode = 32;
}
