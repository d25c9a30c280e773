/** Starts the program. CommonJS, so that the size of the thread pool is set before any ES module. */

// First of all: SIGUSR1, which has a mount change its log level, would else open Node's inspector
// (Node.js, "Signal events"), where every user of this machine could run code in this process.
process.on('SIGUSR1', () => undefined);

import inspector = require('node:inspector');
import ownEnvironment = require('../lib/host/mount-environment.cjs');

/** Oldest Node.js that has zlib.crc32, which uploads are checked with. */
const oldestNode = [20, 15] as const;

function launch(program: 's3jail' | 'mount.s3jail'): void {
  closeInspector();
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    refuse(
      `Node.js ${process.versions.node} is too old; ${oldestNode.join('.')} or newer is needed`,
    );
    return;
  }
  if (!canChangeUser()) {
    refuse(
      `this Node.js ${process.versions.node} cannot change users, which root's mounts need (Debian 13 ` +
        'links it with a libuv that has io_uring on); use one from npm or nodejs.org',
    );
    return;
  }
  ownEnvironment.enlargeOwnPool();
  // The SDK's own switch: its notice about coming Node.js versions is for developers, and would
  // stand in front of every message.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  import('../lib/cli/main.js')
    .then((cli) => {
      closeInspector();
      return cli.main(program, process.argv.slice(2));
    })
    .catch((error: unknown) => {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      const isIncomplete = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
      const reason = error instanceof Error ? error.message.split('\n', 1)[0] : String(error);
      const cure = isIncomplete
        ? '; the installation is incomplete: run npm ci && npm run build'
        : '';
      refuse(`cannot start: ${reason ?? ''}${cure}`);
    });
}

/** Node.js refuses it where its libuv may use io_uring (CVE-2024-22017). */
function canChangeUser(): boolean {
  const euid = process.geteuid?.();
  if (euid !== 0) return true;
  try {
    process.seteuid?.(euid);
    return true;
  } catch {
    return false;
  }
}

/** Takes back what a signal has done that came before the first statement; its thread may be late. */
function closeInspector(): void {
  const preloads = [process.env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ');
  const isAskedFor = /--inspect(?!-p)/.test(preloads);
  if (inspector.url() !== undefined && !isAskedFor) inspector.close();
}

function refuse(reason: string): void {
  process.stderr.write(`s3jail: ${reason}\n`);
  process.exitCode = 2;
}

export = launch;
