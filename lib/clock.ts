/**
 * The time, of which there are two: one that only ever goes on, for how long something took, holds or
 * is waited for, and the date, which is shown and signed and may be set back or forth at any moment.
 *
 * All of a mount that keeps something for a while asks the one clock it was handed, so that tests can
 * let an hour pass, or set the date back, without waiting. What is measured beside a timer of the
 * system's own goes by performance.now().
 */
export interface Clock {
  /** milliseconds since some moment; never goes back, and takes no notice of the date */
  nowMs(): number;
  /** the date: milliseconds since 1970 as the host has it */
  dateMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  dateMs: () => Date.now(),
};
