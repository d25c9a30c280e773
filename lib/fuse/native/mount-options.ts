/**
 * Mount options for libfuse 2 through fuse-native, whose own option names are too few.
 *
 * The package joins its options with commas and escapes nothing, so options it does not know can
 * ride behind one that takes text. They ride behind `subtype`, which is ours, and not behind
 * `fsname`, which is the operator's text: that is escaped as fuse_opt_parse(3) reads it. The binding
 * copies the joined string into 1,024 bytes and cuts what is longer, so `fsname`, which mount(8)
 * only shows, is shortened here to leave room for the options that count.
 */

/** What the binding keeps of an option string: a buffer of 1,024 bytes, the last one a NUL. */
export const maxOptionBytes = 1023;

const riding: readonly string[] = [
  // Without it every cached write is one page: 256 requests for 1 MiB.
  'big_writes',
  // The page cache belongs to the inode, and libfuse gives a path one inode whatever object it
  // holds: two handles could read a mix of two versions out of it.
  'direct_io',
  // O_TRUNC arrives with open; without it as a truncate of the path that no handle belongs to.
  'atomic_o_trunc',
  // libfuse 2 has no way to tell the kernel that something changed, so the kernel keeps nothing.
  'entry_timeout=0',
  'attr_timeout=0',
  'negative_timeout=0',
  'ac_attr_timeout=0',
];

/** The string options of fuse-native. */
export interface LibfuseOptions {
  readonly fsname: string;
  readonly subtype: string;
  readonly allowOther: boolean;
}

/** @param settings.source any text; shown by mount(8) and df(1), shortened where it is too long */
export function libfuseOptions(settings: {
  source: string;
  allowOther: boolean;
  readOnly: boolean;
}): LibfuseOptions {
  const { source, allowOther, readOnly } = settings;
  const subtype = ['s3jail', ...riding, readOnly ? 'ro' : 'rw'].join(',');
  const without = optionString({ fsname: '', subtype, allowOther });
  return { fsname: shownName(source, maxOptionBytes - without.length), subtype, allowOther };
}

/** The string that fuse-native makes of these options. */
export function optionString({ fsname, subtype, allowOther }: LibfuseOptions): string {
  return `-o${allowOther ? 'allow_other,' : ''}fsname=${fsname},subtype=${subtype}`;
}

/** `text` escaped, in at most `room` bytes. */
function shownName(text: string, room: number): string {
  const printable = text.toWellFormed().replace(/\p{Cc}/gu, '?');
  const characters = Array.from(printable, escapeOption);
  if (bytesOf(characters) <= room) return characters.join('');
  const ellipsis = '…';
  const kept: string[] = [];
  let left = room - Buffer.byteLength(ellipsis);
  for (const character of characters) {
    left -= Buffer.byteLength(character);
    if (left < 0) break;
    kept.push(character);
  }
  return kept.join('') + ellipsis;
}

function escapeOption(character: string): string {
  return character === ',' || character === '\\' ? `\\${character}` : character;
}

function bytesOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}
