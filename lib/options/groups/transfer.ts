/** How bytes move: parts, memory, temp space, rates, time. */
import { multipartLimits } from '../../store.js';
import { flag, optional, type OptionTable, time, valued } from '../option-spec.js';
import { parseCount, parseFilePath, parseSize, showSize, showTime, within } from '../values.js';

const concurrency = within(parseCount, { least: 1, most: 256, show: String });

const partSize = within(parseSize, {
  least: multipartLimits.minPart,
  most: multipartLimits.maxPart,
  show: showSize,
});

/** Slower ones would not get a part through in the time that one request may take. */
const rate = within(parseSize, { least: 64 * 1024, show: showSize });

export const transferOptions = {
  partSize: valued(
    {
      name: 'part-size',
      group: 'Transfer',
      value: 'SIZE',
      help: 'part of uploads and downloads',
    },
    '8MiB',
    partSize,
  ),
  equalParts: flag({
    name: 'equal-parts',
    group: 'Transfer',
    help: 'all parts of an object of one size, for endpoints that demand it; files up to 10,000 parts',
  }),
  uploadConcurrency: valued(
    {
      name: 'upload-concurrency',
      group: 'Transfer',
      value: 'N',
      help: 'parts of a file uploaded at a time',
    },
    '8',
    concurrency,
  ),
  downloadConcurrency: valued(
    {
      name: 'download-concurrency',
      group: 'Transfer',
      value: 'N',
      help: 'parts of a file downloaded at a time',
    },
    '8',
    concurrency,
  ),
  maxUploadRate: optional(
    {
      name: 'max-upload-rate',
      group: 'Transfer',
      value: 'SIZE',
      help: 'most bytes a second that all uploads take together',
    },
    rate,
  ),
  maxDownloadRate: optional(
    {
      name: 'max-download-rate',
      group: 'Transfer',
      value: 'SIZE',
      help: 'most bytes a second that all downloads take together',
    },
    rate,
  ),
  memoryLimit: {
    name: 'memory-limit',
    group: 'Transfer',
    value: 'SIZE',
    help: 'memory for data on its way, all files together',
    defaultText: '256MiB; 128MiB with --homes',
    parse: within(parseSize, { least: 16 * 2 ** 20, show: showSize }),
    // With the rest that many users take, the process stays below 300 MB.
    byDefault: (given) => (given.homes === true ? 128 : 256) * 2 ** 20,
  },
  tempDir: {
    name: 'temp-dir',
    group: 'Transfer',
    value: 'DIR',
    help: 'where files wait for their upload, in a directory of their own (0700)',
    defaultText: '$TMPDIR or /var/tmp',
    parse: parseFilePath,
    // Not /tmp: it is memory on many machines, and whole files may wait here.
    byDefault: (_given, ambient) => parseFilePath(ambient.tmpdir ?? '/var/tmp'),
  },
  tempLimit: valued(
    {
      name: 'temp-limit',
      group: 'Transfer',
      value: 'SIZE',
      help: 'most that may wait there, all files together',
    },
    '10GiB',
    within(parseSize, { least: 16 * 2 ** 20, show: showSize }),
  ),
  timeoutMs: valued(
    {
      name: 'timeout',
      group: 'Transfer',
      value: 'TIME',
      help: 'how long S3 may make no progress with a request, or be away while an upload waits for it',
    },
    '60s',
    within(time, { least: 100, show: showTime }),
  ),
} satisfies Partial<OptionTable>;
