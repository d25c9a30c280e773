/**
 * Times as S3 writes them: whole seconds in headers and documents alike.
 */

/** A time as HTTP headers have it. */
export function httpDate(milliseconds: number): string {
  return new Date(milliseconds).toUTCString();
}

let lastSecond = Number.NaN;
let lastText = '';

/**
 * A time as S3's documents have it: always `.000Z`. Neighbours in a listing were mostly written in
 * the same second, so the text of the last one is kept: making it costs more than all the rest of an entry.
 */
export function documentTime(milliseconds: number): string {
  const second = Math.floor(milliseconds / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(second * 1000).toISOString();
  }
  return lastText;
}
