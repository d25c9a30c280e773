/** The files that hold a mount's options: what is asked changes, what an administrator wrote stays. */
import t from 'tap';
import {
  fstabLines,
  withFstabLine,
  withOptions,
  withoutFstabLine,
  withVariables,
} from '../../lib/setup/config-files.js';
import { variablesOf } from '../../lib/setup/mount-words.js';
import { parseVariables } from '../../lib/host/environment-file.js';
import { withPruned, withoutPruned } from '../../lib/setup/updatedb.js';

void t.test('an option takes the place of its like, and all others stay', (t) => {
  const before = '_netdev,x-mine,uid=alice,region=eu-1,read_only,temp-dir="/a,b"';
  const cases: [changes: string[], after: string][] = [
    [[], before],
    [['region=us-1'], before.replace('eu-1', 'us-1')],
    [['rw'], before.replace('read_only', 'rw')],
    [['no-read-only'], before.replace('read_only', 'no-read-only')],
    [['ro'], before.replace('read_only', 'ro')],
    [['temp_dir=/c'], before.replace('temp-dir="/a,b"', 'temp_dir=/c')],
    [['metrics=9100', 'region=x'], `${before.replace('eu-1', 'x')},metrics=9100`],
    [['acl=a"b'], `${before},acl=a\\"b`],
  ];
  for (const [changes, after] of cases) t.equal(withOptions(before, changes), after);
  t.equal(withOptions('region=a,ro,region=b', ['region=c']), 'region=c,ro', 'once');
  t.end();
});

void t.test('a line of fstab keeps its form, its place and its end', (t) => {
  const others = '# own notes\nUUID=1 / ext4 defaults 0 1';
  const line = '  s3://b/alice/\t/srv/sftp/alice  s3jail   uid=alice,region=a  0  2  # hers';
  const text = `${others}\n${line}\ntmpfs /tmp tmpfs defaults 0 0\n`;
  const [present] = fstabLines(text);
  if (present === undefined) throw new Error('the line was not found');
  t.equal(withFstabLine(text, present), text);
  const options = withOptions(present.options, ['region=b']);
  t.equal(withFstabLine(text, { ...present, options }), text.replace('region=a', 'region=b'));
  const own = { source: 's3://b/bob/', mountPoint: '/srv/b c', options: 'uid=bob' };
  const added = withFstabLine(text, own);
  t.equal(added, `${text}s3://b/bob/ /srv/b\\040c s3jail uid=bob 0 0\n`);
  t.equal(withoutFstabLine(added, '/srv/b c'), text);
  const short = 's3://b/alice/ /srv/a s3jail';
  t.equal(
    withFstabLine(`${short}\n`, { source: 's3://b/a/', mountPoint: '/srv/a', options: 'ro' }),
    's3://b/a/ /srv/a s3jail ro 0 0\n',
  );
  t.end();
});

void t.test(
  'variables are set where they stand, and opposites do not stand beside each other',
  (t) => {
    const text = '# mine\nS3JAIL_READ_ONLY=yes\n\nAWS_PROFILE="mine"\nS3JAIL_REGION=a\n';
    t.equal(withVariables(text, variablesOf([])), text);
    t.strictSame(
      variablesOf(['sse-c-key-file=/new', 'sse-c-key-file=/old', 'region=a', 'region=b']),
      {
        S3JAIL_NO_SSE_C_KEY_FILE: undefined,
        S3JAIL_SSE_C_KEY_FILE: '/new:/old',
        S3JAIL_NO_REGION: undefined,
        S3JAIL_REGION: 'b',
      },
      'an option given again',
    );
    t.equal(
      withVariables(text, variablesOf(['rw', 'region=b', '_netdev', 'nofail'])),
      '# mine\n\nAWS_PROFILE="mine"\nS3JAIL_REGION=b\nS3JAIL_NO_READ_ONLY=yes\n',
    );
    t.equal(
      withVariables(text, { AWS_PROFILE: 'mine' }),
      text,
      'another way to write the same stays',
    );
    t.throws(() => withVariables('', { A: "o'clock" }), /quotation mark/);
    t.end();
  },
);

void t.test('files of variables are read as systemd reads them', (t) => {
  const text = [
    '# NAME=comment',
    '; NAME=comment',
    'PLAIN=a b ',
    " SPACED = 'c  d' ",
    'QUOTED="say \\"hi\\" $x"',
    'LONG=one\\',
    'two',
    'AGAIN=1',
    'AGAIN=2',
    'no variable',
    'EMPTY=',
  ].join('\n');
  t.strictSame(parseVariables(text), {
    PLAIN: 'a b',
    SPACED: 'c  d',
    QUOTED: 'say "hi" $x',
    LONG: 'onetwo',
    AGAIN: '2',
    EMPTY: '',
  });
  t.end();
});

void t.test('updatedb is kept out once, and let in as before', (t) => {
  const text = 'PRUNE_BIND_MOUNTS="yes"\n PRUNEFS = "NFS nfs4 autofs"\nPRUNEPATHS="/tmp"\n';
  const pruned = withPruned(text);
  t.match(pruned, / PRUNEFS = "NFS nfs4 autofs fuse\.s3jail"\n/);
  t.equal(withPruned(pruned), pruned);
  t.equal(withoutPruned(pruned), text);
  t.equal(withPruned('PRUNEFS="fuse.s3jail x"\n'), 'PRUNEFS="fuse.s3jail x"\n');
  t.equal(withoutPruned('PRUNEFS="fuse.s3jail x"\n'), 'PRUNEFS="fuse.s3jail x"\n', "another's");
  t.match(withPruned('PRUNEPATHS="/tmp"\n'), /^PRUNEFS="fuse\.s3jail"$/m);
  t.end();
});
