/** Which flush is the end of a process that died over its file. */
import t from 'tap';
import { isInterrupted } from '../../lib/filesystem/interrupted-upload.js';
import type { RequestContext } from '../../lib/operations.js';

const cases: readonly (readonly [why: string, flush: RequestContext, isInterrupted: boolean])[] = [
  ['a driver that tells nothing', {}, false],
  ['cp closes', { closing: 'close', program: 'cp' }, false],
  [
    'sftp-server closes what its client closed',
    { closing: 'close', program: 'sftp-server' },
    false,
  ],
  ['cp is killed', { closing: 'killed', program: 'cp' }, true],
  ['a killed process whose name is not known', { closing: 'killed' }, true],
  ['a shell ends with its output open', { closing: 'exit', program: 'bash' }, false],
  ['the connection of sftp-server drops', { closing: 'exit', program: 'sftp-server' }, true],
  ['that of internal-sftp', { closing: 'exit', program: 'sshd' }, true],
  ['that of internal-sftp since OpenSSH 9.8', { closing: 'exit', program: 'sshd-session' }, true],
];

void t.test('a flush is an interruption', (t) => {
  for (const [why, flush, expected] of cases) t.equal(isInterrupted(flush), expected, why);
  t.end();
});
