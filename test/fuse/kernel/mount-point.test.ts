import t from 'tap';
import { mountOptions, parseMountInfo } from '../../../lib/fuse/kernel/mount-point.js';

void t.test('mountinfo is read with its escapes and optional fields', (t) => {
  const text = [
    String.raw`36 35 0:52 / /srv/my\040sftp\134x rw,nosuid shared:1 master:2 - fuse.s3jail s3://b/a\040b,c/\012\043 rw`,
    '37 35 8:1 / / rw - ext4 /dev/sda1 rw',
    'garbage',
    '',
  ].join('\n');
  t.same(parseMountInfo(text), [
    {
      device: '0:52',
      mountPoint: '/srv/my sftp\\x',
      type: 'fuse.s3jail',
      source: 's3://b/a b,c/\n#',
    },
    { device: '8:1', mountPoint: '/', type: 'ext4', source: '/dev/sda1' },
  ]);
  t.end();
});

void t.test('names beyond ASCII come through mountinfo whole', (t) => {
  const [mount] = parseMountInfo(String.raw`1 2 0:3 / /ä\040ö rw - fuse x rw`);
  t.equal(mount?.mountPoint, '/ä ö');
  t.end();
});

void t.test(
  'mount options close the mount for devices and setuid, and let in whom they should',
  (t) => {
    const owner = { uid: 1000, gid: 1001 };
    const closed = mountOptions({ owner, allowOther: false, readOnly: false });
    t.equal(closed, 'fd=3,rootmode=40755,user_id=1000,group_id=1001,nosuid,nodev,noatime');
    const open = mountOptions({ owner, allowOther: true, readOnly: true });
    t.equal(open, `${closed},allow_other,ro`);
    t.notMatch(open, /default_permissions/);
    t.end();
  },
);
