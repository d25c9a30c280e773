/**
 * What the one time that fuse-native hands to utimens can mean.
 *
 * The binding passes atime twice and mtime never, as milliseconds in an unsigned 64-bit number.
 * UTIME_OMIT for either of them never arrives: libfuse 2 then answers with success by itself.
 * UTIME_NOW arrives as the kernel's clock at the time of the call, explicit times as they were
 * given; only their value tells them apart.
 */

/** How long a request may have been under way, and still carry the present as its time. */
const nowWindowMs = 2000;
/**
 * SFTP has whole seconds only, and put -p sends the times of a file that may be just a second old;
 * the kernel's clock falls on a whole second once in a thousand times, and then arrives at once.
 */
const wholeSecondWindowMs = 50;

/**
 * Whether a time is UTIME_NOW as far as can be known. A doubtful one counts as explicit unless it
 * is almost the present: refusing `touch` would break programs, accepting a stray explicit time
 * loses a time that S3 would not have kept.
 * @param timeMs as the binding hands it over
 * @param presentMs the date
 */
export function isPresent(timeMs: number, presentMs: number): boolean {
  const ageMs = presentMs - timeMs;
  if (ageMs < 0) return false;
  return ageMs <= (timeMs % 1000 === 0 ? wholeSecondWindowMs : nowWindowMs);
}
