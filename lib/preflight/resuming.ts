/** What `--interrupted resume` wants beside the rest: that what is held may be looked at, and lives. */
import { isStoreError } from '../errors.js';
import type { MountOptions } from '../options/mount-options.js';
import { showTime } from '../options/values.js';
import type { Key } from '../path.js';
import type { S3Store } from '../s3/s3-store.js';
import type { Findings } from './findings.js';

const dayMs = 86_400_000;
const item = 'interrupted uploads';

export async function checkResuming(
  store: S3Store,
  { resumeForMs }: Pick<MountOptions, 'resumeForMs'>,
  findings: Findings,
): Promise<void> {
  try {
    const days = await store.uploadLifeDays();
    if (days !== undefined && days * dayMs < resumeForMs) {
      const rule = `a lifecycle rule of the bucket aborts uploads ${showDays(days)} after they began`;
      const cure = `give it more than the --resume-for of ${showTime(resumeForMs)}`;
      findings.warn(item, `${rule}; ${cure}`);
    }
    if (await mayListParts(store)) findings.ok(item, 'can be compared with what S3 has');
    else {
      const cure = 'allow s3:ListMultipartUploadParts';
      findings.warn(item, `are gone on with by their records, uncompared; ${cure}`);
    }
  } catch (error) {
    if (!isStoreError(error)) throw error;
    findings.warn(item, error.message);
  }
}

/** Of an upload that is not there the answer is another where it may not be asked. */
async function mayListParts(store: S3Store): Promise<boolean> {
  try {
    const upload = { key: '.s3jail-check' as Key, uploadId: 'none' };
    return (await store.listParts(upload)) !== undefined;
  } catch (error) {
    if (isStoreError(error, 'noUpload', 'invalid')) return true;
    throw error;
  }
}

function showDays(days: number): string {
  return days === 1 ? 'a day' : `${days} days`;
}
