import fc from 'fast-check';
import t from 'tap';
import {
  libfuseOptions,
  maxOptionBytes,
  optionString,
} from '../../../lib/fuse/native/mount-options.js';

/** Splits as fuse_opt_parse(3) does: at commas, where a backslash takes the next character as it is. */
function parse(text: string): string[] {
  const pieces = text.match(/\\.|[^]/gsu) ?? [];
  const options: string[] = [];
  let option = '';
  for (const piece of pieces) {
    if (piece !== ',') {
      option += piece.startsWith('\\') ? piece.slice(1) : piece;
      continue;
    }
    options.push(option);
    option = '';
  }
  return [...options, option];
}

const ours = [
  'big_writes',
  'direct_io',
  'atomic_o_trunc',
  'entry_timeout=0',
  'attr_timeout=0',
  'negative_timeout=0',
  'ac_attr_timeout=0',
];

void t.test('whatever the source is called, the options stay whole and nothing joins them', (t) => {
  const settings = fc.record({
    source: fc.oneof(
      fc.string({ unit: 'binary', maxLength: 2000 }),
      fc.string({ unit: fc.constantFrom(',', '\\', '=', 'a', '\n', '0', '😀'), maxLength: 1500 }),
    ),
    allowOther: fc.boolean(),
    readOnly: fc.boolean(),
  });
  fc.assert(
    fc.property(settings, (wanted) => {
      const text = optionString(libfuseOptions(wanted));
      t.ok(Buffer.byteLength(text) <= maxOptionBytes);
      const options = parse(text.slice('-o'.length));
      const [shown] = options.splice(wanted.allowOther ? 1 : 0, 1);
      t.match(shown, /^fsname=/);
      t.strictSame(options, [
        ...(wanted.allowOther ? ['allow_other'] : []),
        'subtype=s3jail',
        ...ours,
        wanted.readOnly ? 'ro' : 'rw',
      ]);
    }),
  );
  t.end();
});

void t.test('the source is shown as it is where it fits', (t) => {
  const source = 's3://bucket/a, b\\c=d ü/';
  const options = libfuseOptions({ source, allowOther: false, readOnly: false });
  t.equal(parse(optionString(options).slice(2))[0], `fsname=${source}`);
  t.end();
});

void t.test('a source too long is cut at a character and marked', (t) => {
  const source = `s3://bucket/${'😀'.repeat(300)}`;
  const { fsname } = libfuseOptions({ source, allowOther: true, readOnly: true });
  t.match(fsname, /^s3:\/\/bucket\/(😀)+…$/u);
  t.end();
});

void t.test('control characters of the source are not shown', (t) => {
  const options = libfuseOptions({ source: 'a\nb\0c', allowOther: false, readOnly: false });
  t.equal(options.fsname, 'a?b?c');
  t.end();
});
