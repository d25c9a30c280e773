import t from 'tap';
import { mountOptions } from '../../../lib/fuse/kernel/mount-point.js';

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
