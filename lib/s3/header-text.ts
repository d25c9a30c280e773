/**
 * The text of header values. Clients write user metadata in UTF-8, and sign it so; Node hands out and
 * takes one character a byte.
 */
import { isUtf8 } from 'node:buffer';

/** Makes text what Node sends as UTF-8, in place. */
export function toWire(headers: Record<string, string>): void {
  for (const [name, text] of Object.entries(headers)) {
    if (!isAscii(text)) headers[name] = Buffer.from(text).toString('latin1');
  }
}

/** Makes what Node received text, in place; bytes that are no UTF-8 stay one character each. */
export function fromWire(headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) {
    const bytes = isAscii(value) ? undefined : Buffer.from(value, 'latin1');
    if (bytes !== undefined && isUtf8(bytes)) headers[name] = bytes.toString();
  }
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}
