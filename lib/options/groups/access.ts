/** Whose the files are, and who may use the mount. */
import { flag, optional, type OptionTable, valued } from '../option-spec.js';
import {
  oneOf,
  parseAccount,
  parseFlag,
  parseGroup,
  parseMode,
  parsePrimaryGroup,
  parseUser,
} from '../values.js';

export const accessOptions = {
  uid: {
    name: 'uid',
    group: 'Ownership and access',
    value: 'USER',
    help: 'owner of everything below the root, by name or number',
    defaultText: 'whoever mounts',
    parse: parseUser,
    byDefault: (_given, ambient) => ambient.uid,
  },
  gid: {
    name: 'gid',
    group: 'Ownership and access',
    value: 'GROUP',
    help: 'group of everything below the root, by name or number',
    defaultText: "the owner's",
    parse: parseGroup,
    byDefault: (given, ambient) =>
      given.uid === undefined || given.uid === ambient.uid
        ? ambient.gid
        : (parsePrimaryGroup(given.uid) ?? given.uid),
  },
  fileMode: valued(
    {
      name: 'file-mode',
      group: 'Ownership and access',
      value: 'MODE',
      help: 'permissions shown for files',
    },
    '0644',
    parseMode,
  ),
  dirMode: valued(
    {
      name: 'dir-mode',
      group: 'Ownership and access',
      value: 'MODE',
      help: 'permissions shown for directories',
    },
    '0755',
    parseMode,
  ),
  chroot: {
    name: 'chroot',
    group: 'Ownership and access',
    help: "the mount root itself is root's, so that sshd takes it as ChrootDirectory",
    defaultText: 'on for root',
    parse: parseFlag,
    byDefault: (given, ambient) => ambient.uid === 0 && given.private !== true,
  },
  private: flag({
    name: 'private',
    group: 'Ownership and access',
    help: 'the other layout: mounted by root one level below the chroot, for --uid alone, closed even to root',
  }),
  runAs: optional(
    {
      name: 'run-as',
      group: 'Ownership and access',
      value: 'USER',
      help: 'user that the process of the mount becomes, by name or number; it then has none of the rights of root',
    },
    parseAccount,
  ),
  access: valued(
    {
      name: 'access',
      group: 'Ownership and access',
      value: 'WHOM',
      help: 'who besides root may use the mount: owner (the user of --uid), or any',
    },
    'owner',
    oneOf(['owner', 'any']),
  ),
  allowOther: {
    name: 'allow-other',
    group: 'Ownership and access',
    help: 'let users other than the one who mounts in; for others than root, /etc/fuse.conf has to allow it',
    defaultText: 'on with --chroot',
    parse: parseFlag,
    byDefault: (given) => given.chroot === true,
  },
  readOnly: flag({
    name: 'read-only',
    group: 'Ownership and access',
    help: 'refuse every change; also -o ro',
  }),
} satisfies Partial<OptionTable>;
