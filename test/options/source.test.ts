/** SOURCE: bucket and prefix, and keys that never show. */
import fc from 'fast-check';
import t from 'tap';
import { planMount, type MountRequest } from '../../lib/options/mount-plan.js';
import { OptionValueError } from '../../lib/options/values.js';
import { UsageError } from '../../lib/options/options.js';
import { parseSecretSource, parseSource, showSource } from '../../lib/options/source.js';

const ambient = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };

void t.test(
  'both forms of SOURCE name bucket and prefix, the prefix always ending in a slash',
  (t) => {
    const cases: readonly (readonly [string, string, string])[] = [
      ['s3://bucket', 'bucket', ''],
      ['s3://bucket/', 'bucket', ''],
      ['s3://bucket/alice', 'bucket', 'alice/'],
      ['s3://bucket/a/b/', 'bucket', 'a/b/'],
      ['S3://bucket/A', 'bucket', 'A/'],
      ['bucket', 'bucket', ''],
      ['my.bucket-1/alice/', 'my.bucket-1', 'alice/'],
      ['s3://Old_Bucket/x', 'Old_Bucket', 'x/'],
      ['bucket/with space/ümlaut', 'bucket', 'with space/ümlaut/'],
      ['bucket/mail@example.com:x', 'bucket', 'mail@example.com:x/'],
    ];
    for (const [text, bucket, prefix] of cases) t.same(parseSource(text), { bucket, prefix }, text);
    t.end();
  },
);

void t.test('what names no bucket or leads outside the prefix is refused with a reason', (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /empty/],
    ['s3://', /empty/],
    ['/dev/sda1', /empty/],
    ['ab', /shorter/],
    ['x'.repeat(64), /longer than 63/],
    ['-bucket', /start and end/],
    ['bucket.', /start and end/],
    ['a..b', /two dots/],
    ['192.168.1.1/x', /IP address/],
    ['buck et', /characters/],
    ['https://s3.amazonaws.com/bucket', /--endpoint-url/],
    ['gs://bucket', /s3:\/\//],
    ['bucket/../other', /segment/],
    ['bucket/a//b', /segment/],
    ['bucket/./x', /segment/],
    [`bucket/${'x'.repeat(1020)}/y/z`, /over 1023 bytes/],
  ];
  for (const [text, pattern] of cases)
    t.throws(() => parseSource(text), { message: pattern }, text);
  t.end();
});

void t.test('no source yields a prefix that leaves the bucket or lacks its slash', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const { prefix } = parseSource(`bucket/${text}`);
        t.ok(prefix === '' || /^[^/].*\/$/s.test(prefix), prefix);
        t.notOk(
          prefix.split('/').some((name) => name === '.' || name === '..'),
          prefix,
        );
        t.notOk(prefix.includes('//'), prefix);
      } catch (error) {
        t.type(error, OptionValueError);
      }
    }),
  );
  t.end();
});

void t.test('a source with keys is taken from the environment only', (t) => {
  const text = 's3://AKIAEXAMPLE:wJalr%2FXUtn+FEMI/K7@s3.example.com:9000/bucket/alice/';
  t.same(parseSecretSource(text), {
    bucket: 'bucket',
    prefix: 'alice/',
    endpointUrl: 'https://s3.example.com:9000',
    credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'wJalr/XUtn+FEMI/K7' },
  });
  t.throws(() => parseSource(text), { message: /S3JAIL_SOURCE/ });
  t.equal(showSource(parseSecretSource(text)), 's3://bucket/alice/');
  t.same(parseSecretSource('s3://bucket/x'), { bucket: 'bucket', prefix: 'x/' });
  t.end();
});

void t.test('a directory bucket is refused with a sentence', (t) => {
  for (const bucket of ['data--use1-az4--x-s3', 'point--use1-az4--xa-s3']) {
    const message = /directory bucket .* is not supported .*use a general purpose bucket/;
    t.throws(() => parseSource(`s3://${bucket}/alice/`), { message });
    t.throws(() => parseSecretSource(`s3://AKIA:secret@host/${bucket}/alice/`), { message });
  }
  t.equal(parseSource('x-s3/alice').bucket, 'x-s3');
  t.end();
});

void t.test('an access point is named by its ARN', (t) => {
  const arn = 'arn:aws:s3:eu-west-1:123456789012:accesspoint/sftp';
  const wanted = { bucket: arn, region: 'eu-west-1' };
  t.same(parseSource(`s3://${arn}/alice`), { ...wanted, prefix: 'alice/' });
  t.same(parseSource(`${arn}/a@b:c/`), { ...wanted, prefix: 'a@b:c/' });
  t.same(parseSecretSource(`s3://${arn}/a@b:c/`), { ...wanted, prefix: 'a@b:c/' });
  t.same(parseSource(arn), { ...wanted, prefix: '' });
  t.same(parseSource(arn.replace('t/', 't:')), { ...wanted, prefix: '' }, 'its older form');
  const source = parseSource(`s3://${arn}/alice/`);
  t.same(parseSource(showSource(source)), source, 'and read back as it is shown');
  t.match(parseSource('s3://arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/sftp/'), {
    region: 'us-gov-west-1',
  });
  for (const [text, message] of [
    ['arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/a/', /Multi-Region .* not supported/],
    [
      'arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/x/',
      /no access point for a bucket/,
    ],
    ['arn:aws:s3:eu-west-1:123456789012:accesspoint/x--use1-az4--xa-s3/', /directory bucket/],
    ['arn:aws:s3express:eu-west-1:123456789012:bucket/x--x-s3', /directory bucket/],
    ['arn:aws:s3:::bucket/alice/', /no access point for a bucket; write arn:aws:s3:REGION/],
    ['arn:aws:s3:eu-west-1:12:accesspoint/x/', /no access point/],
    ['arn:aws:s3:eu-west-1:123456789012:accesspoint//x/', /no access point/],
    ['arn:aws:s3:eu-west-1:123456789012:accesspoint/../x', /no access point/],
  ] as const) {
    t.throws(() => parseSource(text), { message }, text);
    t.throws(() => parseSource(`s3://${text}`), { message }, text);
  }
  t.throws(() => parseSource(`${arn}/../other/`), { message: /SOURCE/ });
  t.end();
});

void t.test('no message about a source repeats a secret', (t) => {
  const secret = 'wJalrXUtnFEMIK7MDENG';
  const texts = [
    `s3://AKIA:${secret}@host/bucket`,
    `AKIA:${secret}@host/bucket`,
    `s3://AKIA:${secret}/bucket`,
    `s3://AKIA:${secret}`,
    `s3://AKIA:ab/${secret}@host/bucket`,
    `s3://AKIA:${secret}@host`,
    `s3://AKIA:${secret}%zz@host/bucket`,
    `s3://AKIA:${secret}@ho st/bucket`,
    `s3://AKIA:${secret}@host/b`,
    `s3://${secret}@host/bucket`,
  ];
  for (const text of texts) {
    for (const parse of [parseSource, parseSecretSource]) {
      try {
        parse(text);
      } catch (error) {
        t.type(error, OptionValueError);
        t.notOk(String((error as Error).stack).includes(secret), text);
      }
    }
    t.throws(() => parseSource(text), OptionValueError, text);
  }
  t.end();
});

function plan(
  operands: string[],
  environment: Record<string, string> = {},
  more: Partial<MountRequest> = {},
) {
  const request = { operands, commandLine: [], lists: [], sloppy: false, ...more };
  return planMount(request, { environment, ambient });
}

void t.test('S3JAIL_SOURCE stands in for SOURCE where only MOUNTPOINT is given', (t) => {
  const environment = { S3JAIL_SOURCE: 's3://KEY:SECRET@host/bucket/alice' };
  const fromEnvironment = plan(['/mnt/x'], environment);
  t.equal(fromEnvironment.sourceText, 's3://bucket/alice/');
  t.equal(fromEnvironment.options.endpointUrl, 'https://host');
  t.equal(plan(['other', '/mnt/x'], environment).source.bucket, 'other');
  t.throws(() => plan(['/mnt/x']), { message: /missing/ });
  const lists = ['endpoint-url=http://elsewhere'];
  t.throws(() => plan(['/mnt/x'], environment, { lists }), {
    message: /contradicts --endpoint-url/,
  });
  t.end();
});

void t.test('faults of arguments and options are told together', (t) => {
  try {
    plan(['x', '/mnt', 'more'], {}, { lists: ['part-size=x'] });
    t.fail('it was accepted');
  } catch (error) {
    t.type(error, UsageError);
    t.match((error as UsageError).faults, [/3 arguments/, /part-size/]);
  }
  t.end();
});
