/** One mount for all users of a host. */
import { homeCredentials } from '../mount-options.js';
import { flag, optional, type OptionTable, valued } from '../option-spec.js';
import { oneOf, parseCount, parseGroup, within } from '../values.js';

export const homesOptions = {
  homes: flag({
    name: 'homes',
    group: 'Homes',
    help: 'one mount for all users of the host: MOUNTPOINT/NAME is what the prefix holds below NAME/, for the user NAME and root alone',
  }),
  homesGroup: optional(
    {
      name: 'homes-group',
      group: 'Homes',
      value: 'GROUP',
      help: 'who has a home: the members of this group, by name or number',
    },
    parseGroup,
  ),
  homesMinUid: valued(
    {
      name: 'homes-min-uid',
      group: 'Homes',
      value: 'UID',
      help: 'who has a home, without --homes-group: users with this uid or a higher one',
    },
    '1000',
    within(parseCount, { least: 1, most: 2 ** 32 - 2, show: String }),
  ),
  homeCredentials: valued(
    {
      name: 'home-credentials',
      group: 'Homes',
      value: 'WHOSE',
      help: "whose rights a home's requests have: the mount's (shared), or a session of --role-arn for that home alone, in its user's name (scoped)",
    },
    'shared',
    oneOf(homeCredentials),
  ),
} satisfies Partial<OptionTable>;
