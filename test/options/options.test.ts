/** Options: one table behind the command line, `-o` lists and the environment. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { editDistance, nearest } from '../../lib/options/nearest.js';
import type { MountOptions } from '../../lib/options/mount-options.js';
import { optionRows, optionTable } from '../../lib/options/table.js';
import {
  OptionValueError,
  parseEndpointUrl,
  parseGroup,
  parseMode,
  parseSize,
  parseTime,
  parseUser,
  showSize,
} from '../../lib/options/values.js';
import {
  isSwitch,
  oppositeName,
  resolveOptions,
  splitOptionList,
  UsageError,
  variableOf,
  type OptionInput,
} from '../../lib/options/options.js';

const root = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };
const user = { ...root, uid: 1234, gid: 1234 };

function resolveWith(input: Partial<OptionInput>): MountOptions {
  return resolveOptions({ commandLine: [], lists: [], environment: {}, ambient: root, ...input });
}

function faultsOf(input: Partial<OptionInput>): readonly string[] {
  try {
    resolveWith(input);
  } catch (error) {
    if (error instanceof UsageError) return error.faults;
    throw error;
  }
  return [];
}

/** A value for each option that is not its default, with what it becomes. */
const samples: {
  readonly [Key in keyof MountOptions]: readonly [
    text: string | undefined,
    value: MountOptions[Key],
  ];
} = {
  endpointUrl: ['http://localhost:9000/', 'http://localhost:9000'],
  region: ['eu-central-1', 'eu-central-1'],
  forcePathStyle: [undefined, true],
  profile: ['work', 'work'],
  roleArn: ['arn:aws:iam::123456789012:role/sftp', 'arn:aws:iam::123456789012:role/sftp'],
  roleExternalId: ['x-1', 'x-1'],
  roleSessionName: ['sftp', 'sftp'],
  imdsV1: [undefined, true],
  noSignRequest: [undefined, true],
  sourceFile: ['/etc/s3jail/alice', '/etc/s3jail/alice'],
  storageClass: ['STANDARD_IA', 'STANDARD_IA'],
  sse: ['aws:kms', 'aws:kms'],
  sseKmsKeyId: ['alias/sftp', 'alias/sftp'],
  sseCKeyFile: ['/etc/new:/etc/old', ['/etc/new', '/etc/old']],
  acl: ['bucket-owner-full-control', 'bucket-owner-full-control'],
  requesterPays: [undefined, true],
  expectedBucketOwner: ['123456789012', '123456789012'],
  caBundle: ['/etc/ssl/ca.pem', '/etc/ssl/ca.pem'],
  noCheckBucket: [undefined, true],
  noReadChecksums: [undefined, true],
  uid: ['33', 33],
  gid: ['44', 44],
  fileMode: ['0600', 0o600],
  dirMode: ['750', 0o750],
  chroot: [undefined, true],
  private: [undefined, true],
  runAs: ['daemon', { name: 'daemon', uid: 1, gid: 1, home: '/usr/sbin' }],
  access: ['any', 'any'],
  allowOther: [undefined, true],
  readOnly: [undefined, true],
  homes: [undefined, true],
  homesGroup: ['daemon', 1],
  homesMinUid: ['5000', 5000],
  homeCredentials: ['scoped', 'scoped'],
  utimens: ['ignore', 'ignore'],
  interrupted: ['resume', 'resume'],
  resumeForMs: ['2h', 7_200_000],
  renameDir: ['recursive', 'recursive'],
  metadataTtlMs: ['1m', 60_000],
  contentType: [undefined, true],
  partSize: ['16MiB', 16 * 2 ** 20],
  equalParts: [undefined, true],
  uploadConcurrency: ['3', 3],
  downloadConcurrency: ['5', 5],
  maxUploadRate: ['2MiB', 2 * 2 ** 20],
  maxDownloadRate: ['64KiB', 2 ** 16],
  memoryLimit: ['1GiB', 2 ** 30],
  tempDir: ['/srv/tmp', '/srv/tmp'],
  tempLimit: ['50GiB', 50 * 2 ** 30],
  timeoutMs: ['1500ms', 1500],
  driver: ['kernel', 'kernel'],
  logLevel: ['debug', 'debug'],
  logFormat: ['json', 'json'],
  logFile: ['/var/log/x.log', '/var/log/x.log'],
  auditLog: ['/var/log/audit.log', '/var/log/audit.log'],
  onStore: ["logger -t 's3jail'", "logger -t 's3jail'"],
  metrics: ['127.0.0.1:9100', { host: '127.0.0.1', port: 9100 }],
  drainTimeoutMs: ['30s', 30_000],
};

/** Options that some samples only make sense with. */
const companions: Partial<Record<keyof MountOptions, Record<string, string>>> = {
  roleExternalId: { S3JAIL_ROLE_ARN: 'arn:aws:iam::1:role/r' },
  roleSessionName: { S3JAIL_ROLE_ARN: 'arn:aws:iam::1:role/r' },
  private: { S3JAIL_UID: 'daemon' },
  resumeForMs: { S3JAIL_INTERRUPTED: 'resume' },
  homesGroup: { S3JAIL_HOMES: 'yes' },
  homesMinUid: { S3JAIL_HOMES: 'yes' },
  homeCredentials: { S3JAIL_HOMES: 'yes', S3JAIL_ROLE_ARN: 'arn:aws:iam::1:role/r' },
  sseKmsKeyId: { S3JAIL_SSE: 'aws:kms' },
};

for (const [property, [text, value]] of Object.entries(samples)) {
  const key = property as keyof MountOptions;
  const { name } = optionTable[key];
  const environment = companions[key] ?? {};

  void t.test(`${name} is taken as --${name}, -o ${name} and ${variableOf(name)}`, (t) => {
    const dashed = resolveWith({ commandLine: [{ name, text }], environment });
    t.strictSame(dashed[key], value);
    const list = text === undefined ? name : `${name}="${text}"`;
    t.strictSame(resolveWith({ lists: [`rw,${list}`], environment })[key], value);
    const variable = { ...environment, [variableOf(name)]: text ?? 'yes' };
    t.strictSame(resolveWith({ environment: variable })[key], value);
    t.end();
  });
}

void t.test('a switch is turned off by its opposite, in each of the three ways', (t) => {
  for (const row of optionRows.filter(isSwitch)) {
    const property = Object.entries(optionTable).find(([, each]) => each === row)?.[0];
    const key = property as keyof MountOptions;
    const opposite = oppositeName(row.name);
    const ambient = user;
    t.equal(resolveWith({ ambient, commandLine: [{ name: opposite }] })[key], false, opposite);
    t.equal(resolveWith({ ambient, lists: [opposite] })[key], false);
    t.equal(resolveWith({ ambient, lists: [`${row.name}=no`] })[key], false);
    t.equal(resolveWith({ ambient, environment: { [variableOf(row.name)]: '0' } })[key], false);
    t.equal(resolveWith({ ambient, environment: { [variableOf(opposite)]: 'on' } })[key], false);
  }
  t.end();
});

void t.test(
  'the command line wins over -o, -o over the environment, the environment over defaults',
  (t) => {
    const environment = { S3JAIL_REGION: 'a', S3JAIL_PART_SIZE: '9MiB', S3JAIL_UTIMENS: 'ignore' };
    const options = resolveWith({
      environment,
      lists: ['region=b,part-size=10MiB', 'region=c'],
      commandLine: [{ name: 'region', text: 'd' }],
    });
    t.equal(options.region, 'd');
    t.equal(options.partSize, 10 * 2 ** 20);
    t.equal(options.utimens, 'ignore');
    t.equal(options.interrupted, 'discard');
    t.end();
  },
);

void t.test('defaults are those of the documentation and the result is frozen', (t) => {
  const options = resolveWith({});
  t.match(options, {
    fileMode: 0o644,
    dirMode: 0o755,
    uid: 0,
    gid: 0,
    chroot: true,
    allowOther: true,
    readOnly: false,
    utimens: 'refuse',
    interrupted: 'discard',
    renameDir: 'refuse',
    metadataTtlMs: 5000,
    contentType: true,
    partSize: 8 * 2 ** 20,
    equalParts: false,
    memoryLimit: 256 * 2 ** 20,
    timeoutMs: 60_000,
    driver: 'auto',
    tempDir: '/var/tmp',
  });
  t.ok(Object.isFrozen(options));
  const others = resolveWith({ ambient: { ...user, tmpdir: '/scratch' } });
  const alone = resolveWith({ lists: ['private,uid=1'] });
  t.match(alone, { private: true, chroot: false, allowOther: false, access: 'owner' });
  t.match(others, { chroot: false, allowOther: false, uid: 1234, gid: 1234, tempDir: '/scratch' });
  t.end();
});

void t.test('the group follows the owner unless it is given', (t) => {
  t.equal(resolveWith({ lists: ['uid=daemon'] }).uid, parseUser('daemon'));
  t.equal(resolveWith({ lists: ['uid=daemon'] }).gid, parseGroup('daemon'));
  t.equal(resolveWith({ lists: ['uid=daemon,gid=7'] }).gid, 7);
  t.equal(resolveWith({ lists: ['uid=3999999999'] }).gid, 3999999999);
  t.end();
});

void t.test('an option without a name in the table is refused with the nearest one', (t) => {
  t.match(faultsOf({ commandLine: [{ name: 'retion', text: 'x' }] }), [
    /no option --retion; did you mean --region\?/,
  ]);
  t.match(faultsOf({ lists: ['endpoint_ulr=x'] }), [
    /-o endpoint_ulr; did you mean -o endpoint-url\?/,
  ]);
  t.match(faultsOf({ environment: { S3JAIL_REGOIN: 'x' } }), [
    /no environment variable S3JAIL_REGOIN; did you mean S3JAIL_REGION\?/,
  ]);
  t.match(faultsOf({ environment: { S3JAIL_SUORCE: 'x' } }), [/did you mean S3JAIL_SOURCE\?/]);
  t.match(faultsOf({ environment: { S3JAIL_region: 'x' } }), [/S3JAIL_REGION/]);
  t.match(faultsOf({ lists: ['nodve'] }), [/did you mean -o nodev\?/]);
  t.match(faultsOf({ commandLine: [{ name: 'qqqqqqqq' }] }), [/no option --qqqqqqqq; .*--help/]);
  t.end();
});

void t.test('all faults are told together', (t) => {
  const faults = faultsOf({
    environment: { S3JAIL_NONSENSE: '1', S3JAIL_TIMEOUT: 'soon' },
    lists: ['part-size=8apples,uid=nobody-has-this-name'],
    commandLine: [
      { name: 'file-mode', text: '999' },
      { name: 'region' },
      { name: 'profile', text: 'p' },
      { name: 'no-sign-request' },
    ],
  });
  const expected = [
    /S3JAIL_NONSENSE/,
    /S3JAIL_TIMEOUT: "soon" is not a time/,
    /-o part-size: "8apples" is not a size/,
    /-o uid: there is no user "nobody-has-this-name"/,
    /--file-mode: "999" is not a mode/,
    /--region needs a value/,
    /--no-sign-request .*contradicts --profile/,
  ];
  t.equal(faults.length, expected.length, faults.join('\n'));
  for (const pattern of expected)
    t.ok(
      faults.some((fault) => pattern.test(fault)),
      String(pattern),
    );
  t.end();
});

void t.test('options that contradict each other are refused, each named as it was written', (t) => {
  const cases: readonly (readonly [Partial<OptionInput>, RegExp])[] = [
    [{ lists: ['sse-kms-key-id=k'] }, /-o sse-kms-key-id goes with --sse aws:kms/],
    [{ lists: ['sse-kms-key-id=k,sse=AES256'] }, /not AES256/],
    [{ lists: ['no-sign-request'], environment: { S3JAIL_PROFILE: 'p' } }, /S3JAIL_PROFILE/],
    [{ lists: ['no-sign-request,role-arn=arn:aws:iam::1:role/r'] }, /-o role-arn/],
    [{ lists: ['role-external-id=x'] }, /add --role-arn/],
    [{ lists: ['role-session-name=xx'] }, /add --role-arn/],
    [{ lists: ['chroot'], ambient: user }, /-o chroot needs root/],
    [{ lists: ['no-allow-other'] }, /-o no-allow-other contradicts --chroot/],
    [{ lists: ['private,chroot,uid=1'] }, /-o private contradicts -o chroot/],
    [{ lists: ['private,allow-other,uid=1'] }, /-o private contradicts -o allow-other/],
    [{ lists: ['private'] }, /-o private needs --uid/],
    [{ lists: ['private,uid=1'], ambient: user }, /-o private needs root/],
    [{ lists: ['private,uid=1,driver=fuse-native'] }, /contradicts -o driver fuse-native/],
    [{ lists: ['run-as=daemon'], ambient: user }, /-o run-as needs root/],
    [{ lists: ['run-as=root'] }, /-o run-as names root/],
    [{ lists: ['run-as=4294967294'] }, /-o run-as: there is no user "4294967294"/],
    [{ lists: ['run-as=1,driver=fuse-native'] }, /contradicts -o driver fuse-native/],
    [{ lists: ['run-as=1,private,uid=2'] }, /-o run-as daemon contradicts -o private/],
    [{ lists: ['run-as=1,no-chroot'] }, /-o run-as needs --allow-other/],
    [{ lists: ['access=any'], ambient: user }, /-o access any needs --allow-other/],
    [{ lists: ['storage-class=STANDRD'] }, /did you mean STANDARD\?/],
    [{ lists: ['part-size=1GiB'] }, /-o part-size is too large for a --memory-limit of 256MiB/],
    [{ lists: ['temp-limit=16MiB,part-size=16MiB'] }, /--temp-limit of 16MiB/],
  ];
  for (const [input, pattern] of cases) {
    const faults = faultsOf(input);
    t.ok(faults.length > 0 && faults.every((fault) => pattern.test(fault)), faults.join('\n'));
  }
  t.end();
});

void t.test('a storage class of another service is taken where an endpoint is named', (t) => {
  const list = 'storage-class=FAST,endpoint-url=http://ceph:7480';
  t.equal(resolveWith({ lists: [list] }).storageClass, 'FAST');
  const ambient = { ...root, hasEndpointVariable: true };
  t.equal(resolveWith({ ambient, lists: ['storage-class=FAST'] }).storageClass, 'FAST');
  t.end();
});

void t.test(
  'words of mount(8), fstab and systemd are taken; those the mount never grants are refused',
  (t) => {
    const words =
      'rw,defaults,auto,noauto,user,users,owner,_netdev,nofail,nosuid,nodev,noexec,noatime,relatime,' +
      'x-systemd.automount,x-systemd.after=network-online.target,comment=ours,user=alice';
    t.same(faultsOf({ lists: [words] }), []);
    t.equal(resolveWith({ lists: ['ro'] }).readOnly, true);
    t.equal(resolveWith({ lists: ['ro,rw'] }).readOnly, false);
    t.equal(resolveWith({ lists: ['ro'], environment: { S3JAIL_READ_ONLY: 'no' } }).readOnly, true);
    t.match(faultsOf({ lists: ['suid,dev,remount'] }), [
      /always nosuid/,
      /always nodev/,
      /unmount/,
    ]);
    t.equal(resolveWith({ lists: ['allow_other,region=x'], ambient: user }).allowOther, true);
    t.end();
  },
);

void t.test('mount(8) -s leaves out what is unknown, but not what is wrong', (t) => {
  const faults = faultsOf({ lists: ['nonsense,part-size=x'], sloppy: true });
  t.match(faults, [/part-size/]);
  t.equal(faults.length, 1);
  t.end();
});

void t.test('a list keeps commas that are quoted or escaped', (t) => {
  t.same(splitOptionList('a=1,b="x,y",,c=x\\,y,d="q\\"q"'), ['a=1', 'b=x,y', 'c=x,y', 'd=q"q']);
  t.equal(splitOptionList('a="b'), undefined);
  t.match(faultsOf({ lists: ['profile="a'] }), [/quotation mark/]);
  const arbitrary = fc.array(fc.string({ minLength: 1 }));
  fc.assert(
    fc.property(arbitrary, (values) => {
      const escaped = values.map((value) => value.replace(/[\\,"]/g, '\\$&'));
      t.same(splitOptionList(escaped.join(',')), values);
    }),
  );
  t.end();
});

void t.test('an empty variable counts as not set; an empty value of an option does not', (t) => {
  t.equal(resolveWith({ environment: { S3JAIL_REGION: '' } }).region, undefined);
  t.match(faultsOf({ commandLine: [{ name: 'region', text: '' }] }), [/--region needs a value/]);
  t.match(faultsOf({ lists: ['region='] }), [/-o region needs a value/]);
  t.match(faultsOf({ commandLine: [{ name: 'chroot', text: 'no' }] }), [
    /write --chroot or --no-chroot/,
  ]);
  t.end();
});

void t.test('values of unknown names and of URLs with keys never appear in a message', (t) => {
  const secret = 'wJalrXUtnFEMI';
  const faults = faultsOf({
    environment: { S3JAIL_SECRET_KEY: secret, S3JAIL_ENDPOINT_URL: `https://AKIA:${secret}@host` },
    lists: [`secret_access_key=${secret},endpoint-url=s3://k:${secret}@h`],
    commandLine: [
      { name: 'password', text: secret },
      { name: 'endpoint-url', text: secret },
    ],
  });
  t.equal(faults.length, 6);
  t.notOk(faults.join('\n').includes(secret));
  t.match(faults.join('\n'), /AWS_ACCESS_KEY_ID/);
  t.match(faults.join('\n'), /credentials come from/);
  t.end();
});

void t.test('sizes: what is written in any unit is read as that many bytes', (t) => {
  const units = {
    KiB: 2 ** 10,
    MiB: 2 ** 20,
    GiB: 2 ** 30,
    K: 2 ** 10,
    M: 2 ** 20,
    kB: 1e3,
    MB: 1e6,
    '': 1,
    B: 1,
  };
  for (const [unit, factor] of Object.entries(units)) {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), (count) => {
        t.equal(parseSize(`${count}${unit}`), count * factor);
      }),
    );
  }
  t.equal(parseSize('1.5GiB'), 1.5 * 2 ** 30);
  for (const bad of ['', 'MiB', '-1', '1e3', '8 apples', '1,5M', '0x10', '99999999TiB', '1..5K']) {
    t.throws(() => parseSize(bad), OptionValueError, bad);
  }
  t.end();
});

void t.test('sizes: what showSize writes, parseSize reads', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.constantFrom(0, 10, 20, 30, 40),
      (count, shift) => {
        t.equal(parseSize(showSize(count * 2 ** shift)), count * 2 ** shift);
      },
    ),
  );
  t.end();
});

void t.test('times: what is written in any unit is read as that many milliseconds', (t) => {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1000 };
  for (const [unit, factor] of Object.entries(units)) {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), (count) => {
        t.equal(parseTime(`${count}${unit}`), count * factor);
      }),
    );
  }
  for (const bad of ['', 's', '5 weeks', '-1s', '1h30m', 'Infinity']) {
    t.throws(() => parseTime(bad), OptionValueError, bad);
  }
  t.match(faultsOf({ lists: ['drain-timeout=30d'] }), [/"30d" is above/]);
  t.end();
});

void t.test('no text makes a size or time that is not a whole number from 0 up', (t) => {
  const near = fc.stringMatching(/^[0-9.kKmMgGtTiIbBsh -]{0,8}$/);
  for (const parse of [parseSize, parseTime]) {
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (text) => {
        try {
          const value = parse(text);
          t.ok(Number.isSafeInteger(value) && value >= 0, text);
        } catch (error) {
          t.type(error, OptionValueError);
        }
      }),
    );
  }
  t.end();
});

void t.test('modes are three octal digits', (t) => {
  t.equal(parseMode('0644'), 0o644);
  t.equal(parseMode('0o755'), 0o755);
  t.equal(parseMode('700'), 0o700);
  for (const bad of ['', '8', '0888', '4755', '1777', '64', 'rw-r--r--']) {
    t.throws(() => parseMode(bad), OptionValueError, bad);
  }
  t.end();
});

void t.test('users and groups are taken by name or number, and strangers are refused', (t) => {
  t.equal(parseUser('root'), 0);
  t.equal(parseUser('4711'), 4711);
  t.equal(parseGroup('root'), 0);
  for (const bad of [
    'no-such-user',
    '-1',
    '',
    '4294967295',
    '--help',
    'root:x',
    '99999999999999',
  ]) {
    t.throws(() => parseUser(bad), OptionValueError, bad);
    t.throws(() => parseGroup(bad), OptionValueError, bad);
  }
  t.end();
});

void t.test('an endpoint is a bare http or https URL', (t) => {
  t.equal(parseEndpointUrl('https://s3.example.com/'), 'https://s3.example.com');
  t.equal(parseEndpointUrl('http://[::1]:9000'), 'http://[::1]:9000');
  for (const bad of [
    '',
    'localhost:9000',
    's3.example.com',
    'ftp://x',
    'http://x/?a=b',
    'http://u@x',
  ]) {
    t.throws(() => parseEndpointUrl(bad), OptionValueError, bad);
  }
  t.end();
});

void t.test('relative paths are made absolute at once', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 's3jail-options-'));
  const before = process.cwd();
  t.teardown(() => {
    process.chdir(before);
    rmSync(directory, { recursive: true });
  });
  process.chdir(directory);
  t.equal(resolveWith({ lists: ['log-file=x.log'] }).logFile, join(directory, 'x.log'));
  t.end();
});

void t.test('editDistance counts the slips of a hand', (t) => {
  t.equal(editDistance('region', 'region'), 0);
  t.equal(editDistance('regoin', 'region'), 1);
  t.equal(editDistance('', 'abc'), 3);
  t.equal(editDistance('umont', 'unmount'), 2);
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      t.equal(editDistance(a, b), editDistance(b, a));
      t.equal(editDistance(a, b) === 0, a === b);
    }),
  );
  t.equal(nearest('umont', ['mount', 'unmount']), 'unmount');
  t.equal(nearest('zzz', ['mount', 'unmount']), undefined);
  t.end();
});

void t.test('metrics go to this machine alone unless an address is named', (t) => {
  const metricsOf = (text: string) =>
    resolveWith({ commandLine: [{ name: 'metrics', text }] }).metrics;
  t.same(metricsOf('9464'), { host: '127.0.0.1', port: 9464 });
  t.same(metricsOf('[::]:9464'), { host: '::', port: 9464 });
  t.same(metricsOf('localhost:0'), { host: 'localhost', port: 0 });
  for (const text of [':9464', 'example.com:9464', '127.0.0.1', '127.0.0.1:65536', '::1:9464']) {
    const [fault = ''] = faultsOf({ commandLine: [{ name: 'metrics', text }] });
    t.match(fault, /^--metrics: ".*" is not an address to listen on; write PORT/, text);
  }
  t.end();
});

void t.test('what is for one user is refused with homes, each with the reason', (t) => {
  const given = (...pairs: readonly (readonly [string, string?])[]) =>
    faultsOf({ commandLine: pairs.map(([name, text]) => ({ name, text })) });
  t.same(given(['homes']), []);
  t.same(
    given(['homes'], ['access', 'owner'], ['driver', 'kernel'], ['homes-group', 'daemon']),
    [],
  );
  for (const [pair, reason] of [
    [['uid', '1000'], /^--uid contradicts --homes: each home belongs to its user/],
    [['gid', '1000'], /^--gid contradicts --homes/],
    [['access', 'any'], /^--access contradicts --homes: a home lets in its user and root alone/],
    [['run-as', 'daemon'], /^--run-as contradicts --homes/],
    [['private'], /^--private contradicts --homes/],
    [['no-chroot'], /^--no-chroot contradicts --homes: each home is a chroot/],
    [['driver', 'fuse-native'], /^--driver contradicts --homes: only the kernel driver knows who/],
  ] as const) {
    t.match(
      given(['homes'], pair).find((fault) => reason.test(fault)),
      reason,
    );
  }
  t.match(given(['homes-group', 'daemon']), [/^--homes-group is about homes; add --homes$/]);
  t.match(given(['homes-min-uid', '5']), [/^--homes-min-uid is about homes; add --homes$/]);
  t.match(given(['homes'], ['homes-group', 'daemon'], ['homes-min-uid', '5']), [/leave one out$/]);
  t.match(faultsOf({ ambient: user, lists: ['homes'] }), [/^-o homes needs root/]);
  t.end();
});
