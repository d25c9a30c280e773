/**
 * `s3jail check`: looks at everything a mount needs, in the order a mount would, and says of each
 * thing whether it is there; mounts nothing and leaves nothing behind.
 */
import { isStoreError, type StoreError } from '../errors.js';
import { messageOf, type ExitCode } from '../host/failure.js';
import { silentLog, type Log } from '../log.js';
import { createLog } from '../observability/process-log.js';
import { journalScopeOf, storeOptionsOf, type ServicePlan } from '../options/mount-plan.js';
import type { MountOptions } from '../options/mount-options.js';
import { giveUpRoot } from '../host/run-as.js';
import { isArchiveClass } from '../s3/object-info.js';
import { openStore, type S3Store } from '../s3/s3-store.js';
import { showSource } from '../options/source.js';
import { BucketTrial } from './bucket-trial.js';
import { checkMountPoint } from './chroot.js';
import { Findings } from './findings.js';
import { checkHomes } from './homes.js';
import { checkMachine, checkOutputs, checkTempDirectory } from './machine.js';
import { checkResuming } from './resuming.js';
import { TrialJournal } from './trial-journal.js';

/** Whoever checks waits for it. */
const patience = { timeoutMs: 10_000, maxAttempts: 2 };
/** S3 refuses signatures of 15 minutes away; a clock that far off on its way there should be told. */
const tolerableSkewMs = 60_000;

/**
 * @param print takes the findings, a line each
 * @returns 0 if a mount would work, else 32
 */
export async function runCheck(
  plan: ServicePlan,
  print: (line: string) => void,
): Promise<ExitCode> {
  const findings = new Findings(print);
  const { options } = plan;
  await checkMachine(options, findings);
  if (plan.mountPoint !== undefined) await checkMountPoint(plan.mountPoint, options, findings);
  if (options.runAs !== undefined) giveUpRoot(options.runAs);
  checkTempDirectory(options, findings);
  checkStorageClass(options, findings);
  await checkOutputs(options, findings);
  const journal = options.readOnly ? undefined : openJournal(plan, findings);
  const store = await open(plan, findings, journal);
  try {
    if (store !== undefined && (await checkService(store, plan, findings))) {
      await checkHomes(store, plan, findings);
      const hasKey = options.sseKmsKeyId !== undefined;
      const trial = new BucketTrial(store, findings, { hasKey, record: journal?.own });
      if (options.readOnly) await trial.readOnly();
      else {
        await cleanAfterOthers(store, findings, journal);
        await trial.run();
        if (options.interrupted === 'resume') await checkResuming(store, options, findings);
      }
    }
  } finally {
    journal?.close();
    store?.close();
  }
  return findings.isFine ? 0 : 32;
}

function checkStorageClass({ storageClass }: MountOptions, findings: Findings): void {
  if (!isArchiveClass(storageClass)) return;
  findings.warn(
    '--storage-class',
    `${storageClass ?? ''} is an archive: what users store is listed, but cannot be opened, appended to or ` +
      'renamed until it is restored (hours); GLACIER_IR is read at once',
  );
}

/** What is tried is tried without it too: only a check that is killed would leave something. */
function openJournal(plan: ServicePlan, findings: Findings): TrialJournal | undefined {
  try {
    return new TrialJournal(plan.options.tempDir, journalScopeOf(plan));
  } catch (error) {
    findings.warn('scratch object', `not written down before they are made: ${messageOf(error)}`);
    return undefined;
  }
}

async function cleanAfterOthers(
  store: S3Store,
  findings: Findings,
  journal: TrialJournal | undefined,
): Promise<void> {
  try {
    await journal?.clean(store);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    findings.warn('scratch object', `of a check that was killed are left: ${error.message}`);
  }
}

async function open(
  plan: ServicePlan,
  findings: Findings,
  journal: TrialJournal | undefined,
): Promise<S3Store | undefined> {
  const { options } = plan;
  const timeoutMs = Math.min(options.timeoutMs, patience.timeoutMs);
  const own = { ...patience, timeoutMs, uploadRecord: journal?.own };
  try {
    return await openStore({ ...storeOptionsOf(plan), ...own }, logOf(options));
  } catch (error) {
    findings.fail('--ca-bundle', `${messageOf(error)}; name a readable PEM file`);
    return undefined;
  }
}

/** The findings say it all, except to those who want to see how they came about. */
function logOf({ logLevel, logFormat, logFile }: MountOptions): Log {
  if (logLevel !== 'debug' && logLevel !== 'trace') return silentLog;
  return createLog({ level: logLevel, format: logFormat, file: logFile });
}

/** @returns whether it makes sense to go on with objects */
async function checkService(
  store: S3Store,
  plan: ServicePlan,
  findings: Findings,
): Promise<boolean> {
  try {
    await store.verifyCredentials();
  } catch (error) {
    findings.fail('credentials', messageOf(error));
    return false;
  }
  findings.ok('credentials', store.credentialsFrom);
  let failure: StoreError | undefined;
  try {
    await store.verifyBucket();
  } catch (error) {
    if (!isStoreError(error)) throw error;
    failure = error;
  }
  await tellService(store, plan, findings, failure);
  if (failure === undefined) {
    findings.ok('list', `${showSource(plan.source)} can be listed`);
    return true;
  }
  const item = failedItem(failure);
  findings.fail(item, failure.message);
  return item === 'list';
}

/** Region, endpoint and clock, as far as an answer told of them. */
async function tellService(
  store: S3Store,
  { options }: ServicePlan,
  findings: Findings,
  failure: StoreError | undefined,
): Promise<void> {
  const { place, proxy, region, clockAheadMs } = await store.endpoint();
  if (proxy !== undefined) findings.ok('proxy', `${proxy} is used, as the environment says`);
  if (clockAheadMs === undefined) return;
  const item = failure === undefined ? undefined : failedItem(failure);
  if (item !== 'endpoint') findings.ok('endpoint', `${place} answers`);
  if (item !== 'region' && item !== 'endpoint') {
    const how = options.region === region ? 'as asked for' : 'as found';
    findings.ok('region', `${region}, ${how}`);
  }
  const seconds = Math.round(Math.abs(clockAheadMs) / 1000);
  const direction = clockAheadMs > 0 ? 'ahead of' : 'behind';
  if (Math.abs(clockAheadMs) > tolerableSkewMs) {
    const cure = 'set it, best by NTP: S3 refuses requests that are 15 minutes off';
    findings.warn('clock', `${seconds} s ${direction} the endpoint's; ${cure}`);
  } else findings.ok('clock', 'agrees with the endpoint');
}

/** What a failed question after the bucket was about. */
function failedItem(error: StoreError): string {
  switch (error.code) {
    case 'CredentialsProviderError':
    case 'ExpiredToken':
    case 'InvalidAccessKeyId':
    case 'InvalidToken':
    case 'SignatureDoesNotMatch':
      return 'credentials';
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
    case 'PermanentRedirect':
      return 'region';
    case 'RequestExpired':
    case 'RequestTimeTooSkewed':
      return 'clock';
    case 'InvalidBucketName':
    case 'NoSuchBucket':
      return 'bucket';
    case undefined:
    default:
      return error.kind === 'denied' ? 'list' : 'endpoint';
  }
}
