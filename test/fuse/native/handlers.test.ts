import t from 'tap';
import { nativeOperations } from '../../../lib/fuse/native/handlers.js';
import type { NativeStatfs } from '../../../lib/fuse/native/structs.js';
import { silentLog } from '../../../lib/log.js';
import type { FileSystemStats } from '../../../lib/operations.js';
import { rootPath } from '../../../lib/path.js';
import { MemoryOperations } from '../../support/memory-operations.js';

void t.test('what the kernel would ask for too often or never again is left out', (t) => {
  const handlers = nativeOperations(new MemoryOperations(), silentLog);
  for (const name of ['getxattr', 'setxattr', 'listxattr', 'removexattr', 'access', 'fsyncdir']) {
    t.notOk(name in handlers, name);
  }
  t.end();
});

void t.test('sizes of the file system fit the 32 bits that the binding has for them', async (t) => {
  const stats: FileSystemStats = {
    blockSize: 4096,
    blocks: 2 ** 50 / 4096,
    blocksFree: 2 ** 49 / 4096,
    files: 2 ** 40,
    filesFree: 2 ** 40,
    nameMax: 1024,
  };
  const core = new MemoryOperations();
  core.statfs = () => stats;
  const handlers = nativeOperations(core, silentLog);
  const answer = await new Promise<NativeStatfs>((resolve) => {
    handlers.statfs('/', (_code, ...[result]) => {
      if (result !== undefined) resolve(result);
    });
  });
  for (const [name, value] of Object.entries(answer)) {
    t.ok(Number.isInteger(value) && value < 2 ** 32, `${name} is ${String(value)}`);
  }
  t.equal(answer.blocks * answer.frsize, 2 ** 50);
  t.equal(answer.bavail * answer.frsize, 2 ** 49);
});

void t.test('a name too long for the binding is not listed cut short', async (t) => {
  const core = new MemoryOperations();
  core.fill(rootPath, ['x'.repeat(1023), 'y'.repeat(1024)]);
  const handlers = nativeOperations(core, silentLog);
  const names = await new Promise<readonly string[]>((resolve) => {
    handlers.readdir('/', (_code, ...[listed]) => resolve(listed ?? []));
  });
  t.strictSame(names, ['.', '..', 'x'.repeat(1023)]);
});
