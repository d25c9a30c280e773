/**
 * The time of a file: nanoseconds since 1970, which may be before it. A BigInt, because a double tells
 * the nanoseconds of today to a quarter of a microsecond, and rclone compares them to one.
 *
 * S3 keeps none but the time of storing. What a user gave is kept as rclone does it, in the metadata
 * `mtime`: seconds in decimal, with a sign for the whole.
 */

const perMs = 1_000_000n;
const perSecond = 1_000_000_000n;

/** User metadata that holds the time a user gave. */
export const givenTimeName = 'mtime';

export function timeOfMs(ms: number): bigint {
  return BigInt(Math.floor(ms)) * perMs;
}

/** Rounded down. */
export function msOfTime(time: bigint): number {
  const { seconds, nanoseconds } = splitTime(time);
  return seconds * 1000 + Math.floor(nanoseconds / 1e6);
}

/** As struct timespec has it: nanoseconds count forward, also before 1970. */
export function splitTime(time: bigint): { seconds: number; nanoseconds: number } {
  const seconds = Number(time / perSecond);
  const nanoseconds = Number(time % perSecond);
  if (nanoseconds >= 0) return { seconds, nanoseconds };
  return { seconds: seconds - 1, nanoseconds: nanoseconds + 1e9 };
}

export function joinTime(seconds: bigint, nanoseconds: number): bigint {
  return seconds * perSecond + BigInt(nanoseconds);
}

/** The text that is stored for a time. */
export function textOfTime(time: bigint): string {
  const size = time < 0n ? -time : time;
  const fraction = String(size % perSecond).padStart(9, '0');
  return `${time < 0n ? '-' : ''}${size / perSecond}.${fraction}`;
}

/** The time that a text says; undefined where it says none that a file can have. */
export function timeOfText(text: string | undefined): bigint | undefined {
  const found = /^([+-]?)(\d{1,12})(?:\.(\d*))?$/.exec(text?.trim() ?? '');
  if (found === null) return undefined;
  const [, sign, seconds = '', fraction = ''] = found;
  const size = joinTime(BigInt(seconds), Number(fraction.slice(0, 9).padEnd(9, '0')));
  return sign === '-' ? -size : size;
}
