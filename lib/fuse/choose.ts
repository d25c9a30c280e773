/**
 * Which driver serves a mount. Each is loaded only when chosen, so that what one needs on the machine
 * need not be there for the other.
 */
import type { Log } from '../log.js';
import type { Driver } from './driver.js';

/** The values of `--driver`. */
export const driverOptions = ['auto', 'kernel', 'fuse-native'] as const;
export type DriverOption = (typeof driverOptions)[number];

export interface Choice {
  readonly driver: Driver;
  /** a clause for the log and for `status` */
  readonly why: string;
}

/** `auto` is the kernel driver where this process may mount, and fuse-native everywhere else. */
export async function chooseDriver(option: DriverOption, log: Log): Promise<Choice> {
  const choice = await choose(option);
  log.debug({ driver: choice.driver.name, why: choice.why }, 'driver chosen');
  return choice;
}

async function choose(option: DriverOption): Promise<Choice> {
  if (option === 'fuse-native') return fuseNative('--driver says so');
  const { kernelDriver, mayMount } = await import('./kernel/index.js');
  if (option === 'kernel') return { driver: kernelDriver, why: '--driver says so' };
  const { able, reason } = mayMount();
  return able ? { driver: kernelDriver, why: reason } : fuseNative(reason);
}

async function fuseNative(why: string): Promise<Choice> {
  const { fuseNativeDriver } = await import('./native/index.js');
  return { driver: fuseNativeDriver, why };
}

/** A driver as far as it can be known without mounting. */
export interface Readiness {
  readonly name: Driver['name'];
  readonly able: boolean;
  /** why, or why not and what to do */
  readonly reason: string;
}

/** The driver that `option` stands for here, and whether this machine has what it needs. */
export async function driverReadiness(option: DriverOption): Promise<Readiness> {
  const { mayMount } = await import('./kernel/index.js');
  const kernel = mayMount();
  if (option === 'kernel' || (option === 'auto' && kernel.able)) {
    const cure = kernel.able ? '' : '; run as root on a machine or in a container with /dev/fuse';
    return { name: 'kernel', able: kernel.able, reason: kernel.reason + cure };
  }
  const { mayUseLibfuse } = await import('./native/index.js');
  return { name: 'fuse-native', ...mayUseLibfuse() };
}
