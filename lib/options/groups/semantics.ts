/** What S3 has no place for, and what is done about it. */
import { type OptionTable, time, valued } from '../option-spec.js';
import { oneOf, parseFlag, showTime, within } from '../values.js';

export const semanticsOptions = {
  utimens: valued(
    {
      name: 'utimens',
      group: 'Semantics',
      value: 'HOW',
      help: 'setting file times: refuse, ignore, or store as metadata of the object',
    },
    'refuse',
    oneOf(['refuse', 'ignore', 'store']),
  ),
  interrupted: valued(
    {
      name: 'interrupted',
      group: 'Semantics',
      value: 'HOW',
      help: 'an upload whose client vanished before closing the file: discard or keep what came, or resume: hold it, unpublished, until the client goes on',
    },
    'discard',
    oneOf(['discard', 'keep', 'resume']),
  ),
  resumeForMs: valued(
    {
      name: 'resume-for',
      group: 'Semantics',
      value: 'TIME',
      help: 'how long --interrupted resume holds an upload that nobody goes on with',
    },
    '24h',
    within(time, { least: 1000, show: showTime }),
  ),
  renameDir: valued(
    {
      name: 'rename-dir',
      group: 'Semantics',
      value: 'HOW',
      help: 'renaming a directory that is not empty: refuse, or recursive (copies every object)',
    },
    'refuse',
    oneOf(['refuse', 'recursive']),
  ),
  metadataTtlMs: valued(
    {
      name: 'metadata-ttl',
      group: 'Semantics',
      value: 'TIME',
      help: 'how long changes made elsewhere may go unseen; 0 asks S3 every time',
    },
    '5s',
    time,
  ),
  contentType: {
    name: 'content-type',
    group: 'Semantics',
    help: 'set Content-Type by file name extension; --no-content-type leaves it to S3',
    defaultText: 'on',
    parse: parseFlag,
    byDefault: () => true,
  },
} satisfies Partial<OptionTable>;
