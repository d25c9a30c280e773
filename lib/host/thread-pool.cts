/**
 * Size of libuv's thread pool. CommonJS, because it is set before the first ES module is loaded: that
 * starts the pool, and its size is read from the environment only then.
 */

const variable = 'UV_THREADPOOL_SIZE';

/**
 * Blocked reads of /dev/fuse and temporary files of many sessions share the pool with DNS look-ups;
 * libuv's 4 threads would make them wait for each other.
 */
const threads = '24';

/**
 * Makes the pool of this process large, unless the operator chose a size. Modules loaded before the
 * program (`node --import`, NODE_OPTIONS) may have started it with 4 threads; then nothing is set,
 * so that who reads the variable is not told of threads that are not there.
 */
function enlargeOwnPool(): void {
  const preloads = [process.env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ');
  if (/--(import|require|loader|experimental-loader)\b|(^|\s)-r\b/.test(preloads)) return;
  process.env[variable] ??= threads;
}

/** The environment of a child process that shall have a large pool. */
function withLargePool(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { [variable]: threads, ...env };
}

export = { enlargeOwnPool, withLargePool };
