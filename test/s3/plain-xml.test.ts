/**
 * What the reader of plain XML takes, a parser takes as well and finds the same in it: documents as servers
 * write them, and the same with something broken or unusual in them.
 */
import fc from 'fast-check';
import { SaxesParser } from 'saxes';
import t from 'tap';

import { readPlain } from '../../lib/s3/wire/plain-xml.js';

type Events = string[][];

const begin = '<?xml version="1.0" encoding="UTF-8"?>\n';
const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
const aws = `${begin}<ListBucketResult ${namespace}><Name>b</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken><Contents><Key>a%26b+c.txt</Key><LastModified>2026-01-31T23:59:59.000Z</LastModified><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>4096</Size><Owner><ID>75aa57</ID><DisplayName>x &amp; y</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>`;
const indented = aws.replaceAll('><', '>\n  <').replaceAll('&quot;', '&#34;');
const bare = aws.slice(aws.indexOf('<ListBucketResult')).replace(` ${namespace}`, '');

/** @returns undefined where it is not plain */
function plainly(document: string): Events | undefined {
  const events: Events = [];
  const isPlain = readPlain(document, {
    open: (name) => events.push(['open', name]),
    close: (name, text) => events.push(['close', name, text]),
  });
  return isPlain ? events : undefined;
}

/** @throws Error where it is not well-formed */
function byParser(document: string): Events {
  const events: Events = [];
  const parser = new SaxesParser();
  let text = '';
  parser.on('opentag', ({ name }) => {
    if (text.trim() !== '') events.push(['text', text]);
    text = '';
    events.push(['open', name]);
  });
  parser.on('text', (piece) => (text += piece));
  parser.on('cdata', (piece) => (text += piece));
  parser.on('closetag', ({ name }) => {
    // Between elements white space means nothing.
    const isInnermost = events.at(-1)?.[0] === 'open' && events.at(-1)?.[1] === name;
    events.push(['close', name, isInnermost ? text : text.trim()]);
    text = '';
  });
  parser.write(document).close();
  return events;
}

void t.test('documents as servers write them are plain', (t) => {
  for (const document of [aws, indented, bare, begin.replaceAll('"', "'") + bare, `${aws}\n`]) {
    t.strictSame(plainly(document), byParser(document));
  }
  t.end();
});

void t.test('a parser is left', (t) => {
  const inKey = (text: string): string => bare.replace('a%26b+c.txt', text);
  const cases: Record<string, string> = {
    'a declaration of another version': bare.replace(/^/, '<?xml version="1.1"?>'),
    'another encoding': bare.replace(/^/, '<?xml version="1.0" encoding="ISO-8859-1"?>'),
    'a document type': `<!DOCTYPE ListBucketResult>${bare}`,
    'a byte order mark': `\ufeff${bare}`,
    comments: inKey('a<!-- b -->c'),
    sections: inKey('<![CDATA[a]]>'),
    'processing instructions': inKey('<?a b?>'),
    attributes: bare.replace('<Key>', '<Key a="b">'),
    'empty elements in short': bare.replace('<Prefix></Prefix>', '<Prefix/>'),
    'space in tags': bare.replace('</Key>', '</Key >'),
    'names with a prefix': bare.replace('<Key>', '<s3:Key>').replace('</Key>', '</s3:Key>'),
    'text beside elements': bare.replace('<Key>', 'text<Key>'),
    'text behind elements': bare.replace('</Contents>', 'text</Contents>'),
    'other line ends': inKey('a\r\nb'),
    'control characters': inKey('a\u0001b'),
    'no characters': inKey('a\uffffb'),
    'the end of a section': inKey('a]]>b'),
    'references to other characters': inKey('a&#10;b&#x2;'),
    'entities of its own': inKey('&e;'),
    'a bare ampersand': inKey('a & b'),
    'an ampersand at the end': inKey('a&'),
    'an end without a beginning': bare.replace('<Key>', ''),
    'a beginning without an end': bare.replace('</Key>', ''),
    'ends in another order': '<a><b><c></b></c></a>',
    'a document cut short': bare.slice(0, -1),
    'two roots': bare + bare,
    'text behind the root': `${bare}x`,
    'no document': '',
  };
  for (const [what, document] of Object.entries(cases)) t.equal(plainly(document), undefined, what);
  t.end();
});

void t.test('what is taken is well-formed and means the same, whatever was done to it', (t) => {
  const pieces = [
    '<',
    '>',
    '/',
    '&',
    ';',
    '&#34;',
    '"',
    '=',
    '!',
    '?',
    ' ',
    '\n',
    '\r',
    '\0',
    'Key',
  ];
  const more = [
    '<a>',
    '</a>',
    '<a/>',
    '</Key>',
    '<Key>',
    ']]>',
    '<!--',
    '-->',
    '&quot;',
    '\ufffe',
    'é',
    '𝒳',
  ];
  const change = fc.record({
    at: fc.nat(aws.length),
    cut: fc.nat(12),
    put: fc.oneof(fc.constantFrom(...pieces, ...more), fc.string({ maxLength: 3 })),
  });
  let taken = 0;
  fc.assert(
    fc.property(fc.constantFrom(aws, indented, bare), fc.array(change), (document, changes) => {
      let text = document;
      for (const { at, cut, put } of changes) text = text.slice(0, at) + put + text.slice(at + cut);
      const events = plainly(text);
      if (events === undefined) return true;
      taken += 1;
      return JSON.stringify(events) === JSON.stringify(byParser(text));
    }),
    { numRuns: 5000 },
  );
  t.ok(taken > 300, 'enough of them are plain');
  t.end();
});
