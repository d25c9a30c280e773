import { constants } from 'node:os';
import t from 'tap';
import { FsError, StoreError, errnoNumber, errnoOfKind, toFsError } from '../lib/errors.js';
import type { Errno, StoreErrorKind } from '../lib/errors.js';

/** sftp-server.c, errno_to_portable: what a client is told. */
function sftpStatus(code: Errno): string {
  if (['ENOENT', 'ENOTDIR', 'EBADF', 'ELOOP'].includes(code)) return 'No such file';
  if (['EPERM', 'EACCES', 'EFAULT'].includes(code)) return 'Permission denied';
  if (['EINVAL', 'ENAMETOOLONG'].includes(code)) return 'Bad message';
  if (code === 'ENOSYS') return 'Operation unsupported';
  return 'Failure';
}

void t.test('every store failure reaches SFTP clients as what it is', (t) => {
  const table: Record<StoreErrorKind, [Errno, string]> = {
    notFound: ['ENOENT', 'No such file'],
    denied: ['EACCES', 'Permission denied'],
    changed: ['ESTALE', 'Failure'],
    isDirectory: ['EISDIR', 'Failure'],
    underFile: ['ENOTDIR', 'No such file'],
    nameTooLong: ['ENAMETOOLONG', 'Bad message'],
    badName: ['EILSEQ', 'Failure'],
    tooLarge: ['EFBIG', 'Failure'],
    full: ['EDQUOT', 'Failure'],
    archived: ['EIO', 'Failure'],
    corrupt: ['EIO', 'Failure'],
    throttled: ['EIO', 'Failure'],
    unavailable: ['EIO', 'Failure'],
    unsupported: ['EIO', 'Failure'],
    noBucket: ['EIO', 'Failure'],
    noUpload: ['EIO', 'Failure'],
    invalid: ['EIO', 'Failure'],
    aborted: ['EINTR', 'Failure'],
  };
  for (const [kind, [code, status]] of Object.entries(table)) {
    t.equal(errnoOfKind(kind as StoreErrorKind), code, kind);
    t.equal(sftpStatus(code), status, kind);
    // ENOSYS would make the kernel stop asking, for good: that is how uploads get lost.
    t.not(code, 'ENOSYS');
  }
  t.end();
});

void t.test('whatever is thrown becomes an errno with its cause', (t) => {
  const failed = new StoreError('denied', 'no', { action: 'PutObject', key: 'a' });
  t.equal(toFsError(failed).code, 'EACCES');
  t.equal(toFsError(failed).cause, failed);
  const own = new FsError('ESTALE', 'x');
  t.equal(toFsError(own), own);
  const disk = Object.assign(new Error('write'), { code: 'ENOSPC' });
  t.equal(toFsError(disk).code, 'ENOSPC');
  t.equal(toFsError(Object.assign(new Error('open'), { code: 'EACCES' })).code, 'EIO');
  t.equal(toFsError('odd').code, 'EIO');
  t.equal(errnoNumber('ESTALE'), constants.errno.ESTALE);
  t.equal(own.errno, constants.errno.ESTALE);
  t.end();
});
