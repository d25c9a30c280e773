/**
 * Options that are right one by one but not together.
 */
import { nearest } from './nearest.js';
import {
  awsStorageClasses,
  type Ambient,
  type MountOptions,
  type OptionKey,
  type Origins,
} from './mount-options.js';
import { optionTable } from './table.js';
import { showSize } from './values.js';

/** One sentence for each contradiction. */
export function contradictions(
  options: MountOptions,
  origins: Origins,
  ambient: Ambient,
): string[] {
  const shown = (key: OptionKey) => origins.get(key) ?? `the default --${optionTable[key].name}`;
  return [
    ...identityFaults(options, shown),
    ...objectFaults(options, shown, ambient),
    ...customerKeyFaults(options, shown),
    ...layoutFaults(options, origins, ambient),
    ...privateFaults(options, origins, ambient),
    ...runAsFaults(options, origins, ambient),
    ...homesFaults(options, origins, ambient),
    ...interruptedFaults(options, origins),
    ...limitFaults(options, shown),
  ];
}

type Shown = (key: OptionKey) => string;

function* identityFaults(options: MountOptions, shown: Shown): Iterable<string> {
  for (const key of ['profile', 'roleArn'] as const) {
    if (options.noSignRequest && options[key] !== undefined) {
      yield `${shown('noSignRequest')} (no credentials) contradicts ${shown(key)}; leave one out`;
    }
  }
  for (const key of ['roleExternalId', 'roleSessionName'] as const) {
    if (options[key] !== undefined && options.roleArn === undefined) {
      yield `${shown(key)} says how to assume a role, but no role is named; add --role-arn`;
    }
  }
}

function* objectFaults(options: MountOptions, shown: Shown, ambient: Ambient): Iterable<string> {
  const withKms = options.sse === 'aws:kms' || options.sse === 'aws:kms:dsse';
  if (options.sseKmsKeyId !== undefined && !withKms) {
    const sse = options.sse === undefined ? '' : `, not ${options.sse}`;
    yield `${shown('sseKmsKeyId')} goes with --sse aws:kms or aws:kms:dsse${sse}`;
  }
  const { storageClass } = options;
  const known: readonly string[] = awsStorageClasses;
  // Other services name classes as they like; on AWS a slip would fail every upload.
  const isElsewhere = options.endpointUrl !== undefined || ambient.hasEndpointVariable;
  if (storageClass === undefined || isElsewhere) return;
  if (known.includes(storageClass)) return;
  const meant = nearest(storageClass.toUpperCase(), known);
  const hint = meant === undefined ? known.join(', ') : `did you mean ${meant}?`;
  yield `${shown('storageClass')}: AWS has no storage class ${storageClass}; ${hint}`;
}

/** S3 takes one way of encryption for an object. */
function* customerKeyFaults(options: MountOptions, shown: Shown): Iterable<string> {
  if (options.sseCKeyFile.length === 0 || options.sse === undefined) return;
  const given = shown('sseCKeyFile');
  yield `${given} (a key that S3 does not keep) contradicts ${shown('sse')}; leave one out`;
}

function* layoutFaults(
  options: MountOptions,
  origins: Origins,
  ambient: Ambient,
): Iterable<string> {
  const chroot = origins.get('chroot');
  if (options.chroot && chroot !== undefined && ambient.uid !== 0) {
    yield `${chroot} needs root: sshd takes only a directory of root as ChrootDirectory`;
  }
  const access = origins.get('access');
  if (access !== undefined && options.access === 'any' && !options.allowOther) {
    yield `${access} any needs --allow-other: without it the kernel lets only one user in`;
  }
  if (options.chroot && !options.allowOther) {
    const cure = 'leave it out, or add --no-chroot';
    yield `${origins.get('allowOther') ?? ''} contradicts --chroot: sshd could not enter; ${cure}`;
  }
}

/** A private mount is root's to make, the owner's to use, and only the kernel driver can. */
function* privateFaults(
  options: MountOptions,
  origins: Origins,
  ambient: Ambient,
): Iterable<string> {
  const given = origins.get('private');
  if (!options.private || given === undefined) return;
  if (options.chroot) {
    yield `${given} contradicts ${origins.get('chroot') ?? '--chroot'}; leave one out`;
  }
  if (options.allowOther && !options.chroot) {
    yield `${given} contradicts ${origins.get('allowOther') ?? '--allow-other'}; leave one out`;
  }
  if (ambient.uid !== 0) yield `${given} needs root, to mount for another user`;
  else if (options.uid === 0) yield `${given} needs --uid, the user the mount is for`;
  if (options.driver === 'fuse-native') {
    yield `${given} contradicts ${origins.get('driver') ?? ''} fuse-native, which mounts for its own user`;
  }
}

/** Only root can become somebody else, who then has to be able to look at the mount to watch over it. */
function* runAsFaults(
  { runAs, ...options }: MountOptions,
  origins: Origins,
  ambient: Ambient,
): Iterable<string> {
  const given = origins.get('runAs');
  if (runAs === undefined || given === undefined) return;
  if (ambient.uid !== 0) {
    yield `${given} needs root, to become another user`;
    return;
  }
  if (runAs.uid === 0) yield `${given} names root, whose rights it gives up; name another user`;
  if (options.driver === 'fuse-native') {
    yield `${given} contradicts ${origins.get('driver') ?? ''} fuse-native, which cannot give up root`;
  }
  if (options.private) {
    if (runAs.uid === options.uid && runAs.gid === options.gid) return;
    const alone = `${origins.get('private') ?? '--private'}, which lets in nobody but --uid and --gid`;
    yield `${given} ${runAs.name} contradicts ${alone}; name that user`;
  } else if (!options.allowOther && !options.chroot) {
    yield `${given} needs --allow-other: without it the kernel lets nobody but root in`;
  }
}

/** What is one user's in other mounts is each user's here. */
function* homesFaults(options: MountOptions, origins: Origins, ambient: Ambient): Iterable<string> {
  const homes = origins.get('homes') ?? '--homes';
  if (!options.homes) {
    for (const key of ['homesGroup', 'homesMinUid', 'homeCredentials'] as const) {
      const given = origins.get(key);
      if (given !== undefined) yield `${given} is about homes; add --homes`;
    }
    return;
  }
  const group = origins.get('homesGroup');
  const minUid = origins.get('homesMinUid');
  if (group !== undefined && minUid !== undefined) {
    yield `${group} and ${minUid} both say who has a home; leave one out`;
  }
  if (options.homeCredentials === 'scoped' && options.roleArn === undefined) {
    const given = origins.get('homeCredentials') ?? '--home-credentials scoped';
    yield `${given} needs a role that each home has a session of; add --role-arn`;
  }
  if (ambient.uid !== 0) yield `${homes} needs root, to serve other users`;
  for (const [key, reason] of Object.entries(unfitForHomes)) {
    const given = origins.get(key as OptionKey);
    if (given !== undefined && reason.isMeant(options)) {
      yield `${given} contradicts ${homes}: ${reason.text}; leave one out`;
    }
  }
}

interface Unfit {
  readonly text: string;
  readonly isMeant: (options: MountOptions) => boolean;
}

const unfitForHomes: { readonly [Key in OptionKey]?: Unfit } = {
  uid: { text: 'each home belongs to its user', isMeant: () => true },
  gid: { text: 'each home belongs to its user and his primary group', isMeant: () => true },
  access: {
    text: 'a home lets in its user and root alone',
    isMeant: ({ access }) => access === 'any',
  },
  private: { text: 'that is a mount for one user', isMeant: (options) => options.private },
  runAs: { text: 'it serves users that one user could not watch', isMeant: () => true },
  chroot: { text: 'each home is a chroot', isMeant: ({ chroot }) => !chroot },
  allowOther: {
    text: 'the kernel would let in root alone',
    isMeant: ({ allowOther }) => !allowOther,
  },
  driver: {
    text: 'only the kernel driver knows who asks, and can keep homes apart',
    isMeant: ({ driver }) => driver === 'fuse-native',
  },
};

/** Only the kernel driver is told how a file came to be closed. */
function* interruptedFaults(options: MountOptions, origins: Origins): Iterable<string> {
  const given = origins.get('interrupted');
  if (options.interrupted === 'resume') {
    if (options.driver !== 'fuse-native') return;
    const why = 'which cannot tell a connection that dropped from a close';
    yield `${given ?? ''} resume contradicts ${origins.get('driver') ?? ''} fuse-native, ${why}`;
  } else if (origins.has('resumeForMs')) {
    const what = `${origins.get('resumeForMs') ?? ''} says how long uploads are held`;
    yield `${what}, and --interrupted ${options.interrupted} holds none; add --interrupted resume`;
  }
}

function* limitFaults(options: MountOptions, shown: Shown): Iterable<string> {
  for (const key of ['memoryLimit', 'tempLimit'] as const) {
    // One part on its way out while the next one fills.
    const least = 2 * options.partSize;
    if (options[key] >= least) continue;
    const name = key === 'memoryLimit' ? '--memory-limit' : '--temp-limit';
    const size = showSize(options[key]);
    yield (
      `${shown('partSize')} is too large for a ${name} of ${size}; ` +
      `that has to be two parts, ${showSize(least)}, at least`
    );
  }
}
