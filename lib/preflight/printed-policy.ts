/** What the command `policy` prints: the least policy for what the options ask for, as JSON. */
import type { ServicePlan } from '../options/mount-plan.js';
import { leastPolicy } from '../s3/least-policy.js';

/** Whose policy it is, where that is not plain, and what has to allow it besides. */
export function policyNote({ source, options }: ServicePlan): string | undefined {
  const { roleArn, homes, homeCredentials } = options;
  if (source.bucket.startsWith('arn:')) {
    return (
      'this is about the access point; its bucket has to allow the same, best to all access points of the ' +
      'account by s3:DataAccessPointAccount in the policy of the bucket'
    );
  }
  if (roleArn === undefined || !homes || homeCredentials !== 'scoped') return undefined;
  return (
    `this is for ${roleArn}; whoever mounts needs sts:AssumeRole on it and its trust, and each home has ` +
    'a session of it that may reach what is below its own name only'
  );
}

export function printedPolicy({ source, options }: ServicePlan): string {
  return JSON.stringify(leastPolicy(source, options), null, 2);
}
