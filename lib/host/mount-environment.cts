/**
 * What the process of a mount has to find in its environment: the size of libuv's thread pool, and how
 * malloc(3) deals with large blocks. CommonJS, because the first is set before the first ES module is
 * loaded: that starts the pool, and its size is read from the environment only then.
 */

const poolSize = 'UV_THREADPOOL_SIZE';

/**
 * Blocked reads of /dev/fuse and temporary files of many sessions share the pool with DNS look-ups;
 * libuv's 4 threads would make them wait for each other.
 */
const threads = '24';

/**
 * Left alone, glibc takes the first large block that is freed as a sign to keep all up to that size in
 * its heap (mallopt(3), "dynamic mmap threshold"): buffers of parts then leave tens of megabytes behind
 * that no later free gives back. 64 KiB is what a socket is read into; below that the system calls cost
 * more than they save. Read once, before any of our code runs.
 */
const allocator = { MALLOC_MMAP_THRESHOLD_: '65536', MALLOC_TRIM_THRESHOLD_: '131072' };

/**
 * Makes the pool of this process large, unless the operator chose a size. Modules loaded before the
 * program (`node --import`, NODE_OPTIONS) may have started it with 4 threads; then nothing is set,
 * so that readers of the variable are not told of threads that are not there.
 */
function enlargeOwnPool(): void {
  const preloads = [process.env['NODE_OPTIONS'] ?? '', ...process.execArgv].join(' ');
  if (/--(import|require|loader|experimental-loader)\b|(^|\s)-r\b/.test(preloads)) return;
  process.env[poolSize] ??= threads;
}

/** The environment of a child process that is to mount. */
function mountEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { [poolSize]: threads, ...allocator, ...env };
}

export = { enlargeOwnPool, mountEnvironment };
