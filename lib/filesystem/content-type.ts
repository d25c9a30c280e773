/** Content types by file name extension, from the registered ones. */
import mime from 'mime';
import { nameOf } from '../path.js';
import type { Path } from '../path.js';

/** The media type of a name, or undefined where its extension says nothing. */
export function contentTypeOf(path: Path): string | undefined {
  return mime.getType(nameOf(path)) ?? undefined;
}
