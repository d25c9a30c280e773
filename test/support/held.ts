/** Cores that hold interrupted uploads, one process after the other on the same place. */
import { mkdirSync } from 'node:fs';
import type { Test } from 'tap';
import type { Filesystem } from '../../lib/filesystem/filesystem.js';
import type { FilesystemSettings } from '../../lib/filesystem/settings.js';
import type { HandleId, RequestContext } from '../../lib/operations.js';
import { Program, useCore, type Core, type CoreOptions } from './core.js';
import { temporaryDirectory } from './embedded.js';
import { kibibyte } from './sizes.js';

/** The connection of sftp-server drops. */
export const dropped: RequestContext = { closing: 'exit', program: 'sftp-server' };
export const closed: RequestContext = { closing: 'close', program: 'sftp-server' };

export const minPart = 64 * kibibyte;
export const partSize = 100 * kibibyte;

/**
 * Cores that are to be as if they were killed leave files open. They stay reachable: what is collected
 * and was not closed is an error on Node.js 26.
 */
const killed: Filesystem[] = [];

export interface HoldingCore extends Core {
  readonly program: Program;
  /** of the records */
  readonly directory: string;
  /**
   * Another process on the same place; this one is to do nothing more, as if it was killed.
   * @param before it takes over what is held
   */
  next(options?: CoreOptions, before?: (core: Core) => void): Promise<HoldingCore>;
}

export async function useHoldingCore(
  t: Test,
  options: CoreOptions = {},
  directory?: string,
  before?: (core: Core) => void,
): Promise<HoldingCore> {
  const path = directory ?? (await temporaryDirectory(t));
  const place = { path, renew: () => mkdirSync(path, { recursive: true }) };
  const held = { place, scope: 'test', forMs: 86_400_000 };
  const settings: Partial<FilesystemSettings> = {
    ...{ partSize, interrupted: 'resume', held },
    ...options.settings,
  };
  const core = await useCore(t, { minPart, ...options, settings });
  before?.(core);
  await core.fs.restoreHeld();
  t.teardown(() => core.fs.close());
  return {
    ...core,
    program: new Program(core.fs),
    directory: path,
    next: async (more = {}, beforeNext) => {
      core.fs.close();
      killed.push(core.fs);
      const same = { ...options, endpoint: core.endpoint, ...more };
      return await useHoldingCore(t, same, path, beforeNext);
    },
  };
}

/** Writes in pieces as SFTP clients do. */
export async function writeAll(
  program: Program,
  handle: HandleId,
  data: Buffer,
  from = 0,
): Promise<void> {
  for (let at = from; at < data.length; at += 32 * kibibyte) {
    await program.write(handle, data.subarray(at, at + 32 * kibibyte), at);
  }
}

/** A new upload whose connection drops when `data` has arrived. */
export async function cutOff(core: HoldingCore, path: string, data: Buffer): Promise<void> {
  const { program } = core;
  const exists = await program.exists(path);
  const handle = exists
    ? await program.open(path, { access: 'write', truncate: true })
    : await program.create(path, { truncate: true });
  await writeAll(program, handle, data);
  await program.close(handle, dropped);
}

/** As sftp's reput: goes on at the size that is shown. */
export async function goOn(core: HoldingCore, path: string, data: Buffer): Promise<void> {
  const { program } = core;
  const { size } = await program.stat(path);
  const handle = await program.open(path, { access: 'write' });
  try {
    await writeAll(program, handle, data, size);
  } finally {
    await program.close(handle, closed);
  }
}
