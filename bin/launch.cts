/**
 * Starts the program. CommonJS, because loading an ES module already makes libuv start its thread
 * pool, and the size of the pool is read from the environment only then.
 */

/** Oldest Node.js that has zlib.crc32, which uploads are checked with. */
const oldestNode = [20, 15] as const;

/**
 * Threads for file descriptors: blocked reads of /dev/fuse and temporary files of many sessions
 * share the pool with DNS look-ups; libuv's 4 would make them wait for each other.
 */
const threadPoolSize = '24';

function launch(program: 's3jail' | 'mount.s3jail'): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    refuse(
      `Node.js ${process.versions.node} is too old; ${oldestNode.join('.')} or newer is needed`,
    );
    return;
  }
  process.env['UV_THREADPOOL_SIZE'] ??= threadPoolSize;
  // The SDK's own switch: its notice about coming Node.js versions is for developers, and would
  // stand in front of every message.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  import('../lib/cli.js')
    .then((cli) => cli.main(program, process.argv.slice(2)))
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

function refuse(reason: string): void {
  process.stderr.write(`s3jail: ${reason}\n`);
  process.exitCode = 2;
}

export = launch;
