/** What the command `policy` prints: the least policy for what the options ask for, as JSON. */
import type { ServicePlan } from '../options/mount-plan.js';
import { leastPolicy } from '../s3/least-policy.js';

export function printedPolicy({ source, options }: ServicePlan): string {
  return JSON.stringify(leastPolicy(source, options), null, 2);
}
