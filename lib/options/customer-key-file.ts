/**
 * Files of keys for SSE-C: the 32 bytes of one as they are (as rclone's sse_customer_key_file has it), or
 * a line of base64 for each (as s3fs's use_sse=custom has them). No message repeats what may be a key.
 */
import { CustomerKey, customerKeyBytes } from '../customer-key.js';
import { readPrivateFile } from './private-file.js';
import { OptionValueError, quote } from './values.js';

/**
 * The keys of a file, in its order.
 * @param path absolute
 * @throws OptionValueError where it cannot be read, others could read it, or something in it is no key
 */
export function readCustomerKeys(path: string): CustomerKey[] {
  const content = readPrivateFile(path, 'holds a key');
  if (content.length === customerKeyBytes) return [new CustomerKey(content)];
  const lines = content.toString('latin1').split('\n');
  const keys = lines.flatMap((text, index) => {
    const line = text.trim();
    if (line === '' || line.startsWith('#')) return [];
    return [keyOfLine(line, `line ${index + 1} of ${quote(path)}`)];
  });
  if (keys.length === 0) throw new OptionValueError(`${quote(path)} holds no key; ${form}`);
  return keys;
}

const form =
  'write 32 bytes as they are, or a line of base64 for each key, as openssl rand -base64 32 makes it';

function keyOfLine(line: string, place: string): CustomerKey {
  const bytes = Buffer.from(line, 'base64');
  const isKey = bytes.length === customerKeyBytes && bytes.toString('base64') === line;
  if (!isKey) throw new OptionValueError(`${place} is no key of 32 bytes in base64; ${form}`);
  return new CustomerKey(bytes);
}
