/** Whether each home can have a session of its own, where that is asked for. */
import { isStoreError } from '../errors.js';
import type { ServicePlan } from '../options/mount-plan.js';
import type { Key } from '../path.js';
import type { S3Store } from '../s3/s3-store.js';
import type { Findings } from './findings.js';

/** As long as a user's name can be (useradd(8)): a session policy has a largest size. */
const nobodysHome = 's3jail-check'.padEnd(32, '-');

export async function checkHomes(
  store: S3Store,
  { options }: ServicePlan,
  findings: Findings,
): Promise<void> {
  const { roleArn, homes, homeCredentials } = options;
  if (roleArn === undefined || !homes || homeCredentials !== 'scoped') return;
  try {
    await store.list({ prefix: `${nobodysHome}/` as Key, oneLevel: true, maxKeys: 1 });
    findings.ok('home credentials', `a session of ${roleArn} for one home can list that home`);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const cure = `${roleArn} has to trust whoever mounts, and to allow what s3jail policy prints`;
    findings.fail('home credentials', `no session for one home: ${error.message}; ${cure}`);
  }
}
