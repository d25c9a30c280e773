/**
 * A mount as a program of its own, the way an administrator starts it, with its keys in the
 * environment, where ps does not show them.
 */
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemErrorCode } from '../errors.js';
import { detach } from '../host/mount-programs.js';
import { findMount, readMountTable } from '../host/mount-table.js';
import { Child } from './child.js';
import childEnvironment from '../host/mount-environment.cjs';

export interface MountProcessSettings {
  /** `s3://bucket/prefix/` */
  readonly source: string;
  readonly mountPoint: string;
  readonly endpointUrl: string;
  readonly credentials: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  /** further options of `s3jail mount` */
  readonly options: readonly string[];
  readonly output: 'keep' | 'inherit';
}

export interface MountProcess {
  readonly child: Child;
  /** unmounts; by force where it does not end by itself */
  stop(graceMs?: number): Promise<void>;
}

/** The compiled program beside this file's compiled form. */
export const program = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));

/** How long a mount may take to come up: its own limit for reaching S3 ends earlier. */
const startLimitMs = 60_000;

/** Starts it and waits until the kernel shows the mount. @throws Error with what it said */
export async function startMount(
  settings: MountProcessSettings,
  signal?: AbortSignal,
): Promise<MountProcess> {
  const args = [program, 'mount', settings.source, settings.mountPoint, '--foreground'];
  args.push('--endpoint-url', settings.endpointUrl, '--force-path-style', ...settings.options);
  const child = await Child.start(process.execPath, args, {
    env: mountEnvironment(settings),
    output: settings.output,
  });
  const mount = { child, stop: (graceMs = 30_000) => stopMount(child, settings, graceMs) };
  const deadline = performance.now() + startLimitMs;
  while (!(await isServed(settings.mountPoint))) {
    const fault = faultOf(child, deadline, signal);
    if (fault !== undefined) {
      await mount.stop();
      throw new Error(fault, { cause: signal?.reason });
    }
    await sleep(20);
  }
  return mount;
}

/**
 * The kernel shows a mount before anybody answers for it, so this asks for an answer. Of the mount, and
 * not of the directory below: a dead one that was in the table may be taken away meanwhile.
 */
async function isServed(mountPoint: string): Promise<boolean> {
  const before = findMount(mountPoint);
  if (before?.type.startsWith('fuse') !== true) return false;
  try {
    await stat(mountPoint);
    return findMount(mountPoint)?.device === before.device;
  } catch (error) {
    // Its program has died again.
    if (systemErrorCode(error) === 'ENOTCONN') return false;
    // The kernel's word for a living mount that only its user may look at (--private).
    if (systemErrorCode(error) === 'EACCES') return true;
    throw error;
  }
}

function faultOf(child: Child, deadline: number, signal?: AbortSignal): string | undefined {
  if (signal?.aborted === true) return 'stopped while it was being mounted';
  if (!child.isRunning) return child.stderr.trim() || 'the mount ended before it was there';
  return performance.now() > deadline
    ? `no mount within ${startLimitMs / 1000} seconds`
    : undefined;
}

async function stopMount(
  child: Child,
  settings: MountProcessSettings,
  graceMs: number,
): Promise<void> {
  await child.stop({ graceMs });
  await detachMounts(settings.mountPoint);
}

/** Removes mounts that a dead process left behind, so that a directory can be emptied safely. */
export async function detachMounts(path: string): Promise<void> {
  const points = readMountTable().map((entry) => entry.mountPoint);
  const within = points.filter((point) => point === path || point.startsWith(`${path}/`));
  for (const point of within.reverse()) await detach(point, { lazy: true });
}

/** Ours, without what would make the child take other keys, another region or other options. */
function mountEnvironment(settings: MountProcessSettings): NodeJS.ProcessEnv {
  const { accessKeyId, secretAccessKey, sessionToken } = settings.credentials;
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AWS|S3JAIL)_/.test(name));
  return childEnvironment.mountEnvironment({
    ...Object.fromEntries(inherited),
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: sessionToken }),
    AWS_REGION: 'us-east-1',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_DISABLED: 'true',
  });
}
