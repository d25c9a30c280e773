/**
 * Answers with a status of success from something that is not S3: a captive portal, a wrong proxy, a
 * web server at the endpoint's address. By what they look like.
 */
import type { WholeAnswer } from './faults.js';

type Headers = Readonly<Record<string, unknown>>;

const page = '<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Hello</body></html>\n';
const html = { 'content-type': 'text/html; charset=utf-8' };
const xml = { 'content-type': 'application/xml' };
/** Names that S3's documents have, below a root that is none of theirs. */
const foreignXml =
  '<?xml version="1.0" encoding="UTF-8"?>\n<PortalResult><Name>x</Name><IsTruncated>false</IsTruncated><Bucket>b</Bucket><Key>k</Key>' +
  '<UploadId>abc</UploadId><ETag>"0123456789abcdef0123456789abcdef"</ETag>' +
  '<CopyObjectResult><ETag>"0123456789abcdef0123456789abcdef"</ETag></CopyObjectResult></PortalResult>';

function answer(status: number, headers: WholeAnswer['headers'], body: string): () => WholeAnswer {
  return () => ({ status, headers, body });
}

/** What came, back again, but for what would break the connection. */
function reflected(headers: Headers, kept: RegExp): WholeAnswer['headers'] {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      typeof value === 'string' && kept.test(name) ? [[name, value]] : [],
    ),
  );
}

const itsOwn = '"5f3e-1a2b3c4d5e6f7"';
const likeAnMd5 = '"0123456789abcdef0123456789abcdef"';

export const foreignAnswers: Readonly<Record<string, (request: Headers) => WholeAnswer>> = {
  'a page in HTML': answer(200, html, page),
  'a page with an ETag of its own': answer(200, { ...html, etag: itsOwn }, page),
  garbage: answer(200, {}, '\u0000\u0001 garbage <<<>>> \uFFFD'),
  nothing: answer(200, {}, ''),
  'nothing, with an ETag': answer(200, { etag: likeAnMd5 }, ''),
  'nothing, with a weak ETag and a request id': answer(
    200,
    { etag: 'W/"0-2jmj7l5rSw0yVb/vlWAYkK/YBwk"', 'x-amz-request-id': 'abc' },
    '',
  ),
  JSON: answer(200, { 'content-type': 'application/json' }, '{"ok":true}'),
  'XML of others': answer(200, xml, foreignXml),
  'XML of others, with an ETag': answer(200, { ...xml, etag: likeAnMd5 }, foreignXml),
  'a status of 201': answer(201, { etag: itsOwn }, ''),
  'a status of 202': answer(202, { ...xml, etag: itsOwn }, foreignXml),
  'a status of 204': answer(204, { etag: likeAnMd5 }, ''),
  'the request': (headers) => ({
    status: 200,
    headers: {
      ...reflected(headers, /^(?!connection|content-length|transfer|expect|host)/),
      etag: itsOwn,
    },
    body: '',
  }),
  "the request's checksum": (headers) => ({
    status: 200,
    headers: { ...reflected(headers, /^x-amz-checksum-/), etag: likeAnMd5 },
    body: '',
  }),
};
