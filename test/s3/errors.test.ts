/** From what the SDK throws to the kinds the core knows. */
import t from 'tap';
import { StoreError } from '../../lib/errors.js';
import { errorFacts, kindOf, toStoreError } from '../../lib/s3/connection/s3-errors.js';

/** An exception as the SDK makes them from an answer. */
function answered(name: string, status: number, more: object = {}): Error {
  return Object.assign(new Error('UnknownError'), {
    name,
    $metadata: { httpStatusCode: status, requestId: 'R1', attempts: 2 },
    ...more,
  });
}

void t.test('S3’s code decides', (t) => {
  for (const [code, status, kind] of [
    ['NoSuchKey', 404, 'notFound'],
    ['NoSuchBucket', 404, 'noBucket'],
    ['NoSuchUpload', 404, 'noUpload'],
    ['AccessDenied', 403, 'denied'],
    ['ExpiredToken', 400, 'denied'],
    ['RequestTimeTooSkewed', 403, 'denied'],
    ['PreconditionFailed', 412, 'changed'],
    ['ConditionalRequestConflict', 409, 'changed'],
    ['EntityTooLarge', 400, 'tooLarge'],
    ['QuotaExceeded', 403, 'full'],
    ['InvalidObjectState', 403, 'archived'],
    ['BadDigest', 400, 'corrupt'],
    ['XAmzContentSHA256Mismatch', 400, 'corrupt'],
    ['SlowDown', 503, 'throttled'],
    ['InternalError', 500, 'unavailable'],
    ['NotImplemented', 501, 'unsupported'],
    ['MalformedXML', 400, 'invalid'],
    ['InvalidRange', 416, 'invalid'],
  ] as const) {
    t.equal(toStoreError(answered(code, status), { action: 'X' }).kind, kind, code);
  }
  // A refusal inside a 200 gets the status 503 from the SDK.
  t.equal(toStoreError(answered('PreconditionFailed', 503), { action: 'X' }).kind, 'changed');
  t.end();
});

void t.test('an absence is told by its own code, or to who asked for the key', (t) => {
  for (const [name, action, kind] of [
    ['NoSuchRoute', 'HeadObject', 'invalid'],
    ['NoSuchRoute', 'CopyObject', 'invalid'],
    ['NotFound', 'HeadObject', 'notFound'],
    ['Unknown', 'HeadObject', 'notFound'],
    ['NotFound', 'DeleteObject', 'invalid'],
    ['Unknown', 'CopyObject', 'invalid'],
    ['NotFound', 'ListObjectsV2', 'invalid'],
    ['NoSuchKey', 'ListObjectsV2', 'invalid'],
    ['NoSuchKey', 'ListMultipartUploads', 'invalid'],
    ['NoSuchKey', 'CopyObject', 'notFound'],
    // Ceph 16 says so of an upload that is over.
    ['NoSuchKey', 'ListParts', 'notFound'],
    ['Unknown', 'ListParts', 'invalid'],
    ['NoSuchBucket', 'ListObjectsV2', 'noBucket'],
  ] as const) {
    t.equal(toStoreError(answered(name, 404), { action }).kind, kind, `${name} ${action}`);
  }
  t.end();
});

void t.test('a name that is taken by a directory or a file is no change by others', (t) => {
  const kindAt = (code: string, status: number, key: string): string =>
    toStoreError(answered(code, status), { action: 'PutObject', key }).kind;
  t.equal(kindAt('ExistingObjectIsDirectory', 409, 'a'), 'isDirectory');
  t.equal(kindAt('ObjectParentIsFile', 409, 'a/b'), 'underFile');
  t.equal(kindAt('ExistingObjectIsFile', 409, 'a/b'), 'underFile');
  t.equal(kindAt('BucketNotEmpty', 409, 'a'), 'invalid', 'nor is what nobody knows');
  t.equal(kindAt('Unknown', 409, 'a'), 'changed');
  t.equal(kindAt('KeyTooLongError', 400, 'a'), 'nameTooLong');
  t.equal(kindAt('XMinioInvalidObjectName', 400, 'a'), 'badName');
  const long = `d/${'x'.repeat(240)}/y`;
  t.equal(kindAt('XMinioInvalidObjectName', 400, long), 'nameTooLong');
  t.equal(kindAt('ExistingObjectIsDirectory', 409, long), 'nameTooLong', 'versitygw');
  t.equal(
    toStoreError(answered('Unknown', 400), { action: 'HeadObject', key: long }).kind,
    'nameTooLong',
  );
  t.end();
});

void t.test('without a code, as for HEAD, the status decides', (t) => {
  for (const [status, kind] of [
    [401, 'denied'],
    [403, 'denied'],
    [404, 'notFound'],
    [405, 'unsupported'],
    [412, 'changed'],
    [413, 'tooLarge'],
    [429, 'throttled'],
    [500, 'unavailable'],
    [501, 'unsupported'],
    [503, 'unavailable'],
    [507, 'full'],
    [599, 'unavailable'],
    [301, 'unavailable'],
    // An object encrypted with a key of its own.
    [400, 'denied'],
    [416, 'invalid'],
    [200, 'corrupt'],
  ] as const) {
    const action = 'HeadObject';
    t.equal(toStoreError(answered('Unknown', status), { action }).kind, kind, String(status));
    t.equal(toStoreError(answered(String(status), status), { action }).kind, kind);
  }
  t.end();
});

void t.test('before there is an answer, the system’s errno decides', (t) => {
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EPIPE', 'CERT_HAS_EXPIRED']) {
    const error = Object.assign(new Error('x'), { code });
    t.equal(toStoreError(error, { action: 'X' }).kind, 'unavailable', code);
  }
  const timeout = Object.assign(new Error('x'), { name: 'TimeoutError' });
  t.equal(toStoreError(timeout, { action: 'X' }).kind, 'unavailable');
  t.equal(toStoreError(new TypeError('a bug'), { action: 'X' }).kind, 'invalid');
  t.equal(toStoreError('thrown text', { action: 'X' }).kind, 'invalid');
  t.equal(toStoreError(undefined, { action: 'X' }).kind, 'invalid');
  t.equal(kindOf({ code: undefined, status: 200, system: 'ECONNRESET' }), 'unavailable');
  t.end();
});

void t.test('the facts for the log come along, and nothing else does', (t) => {
  const error = answered('AccessDenied', 403, {
    message: `Access\u0007 Denied${'!'.repeat(500)}`,
    AWSAccessKeyId: 'AKIASECRETISH',
  });
  const store = toStoreError(error, { action: 'PutObject', key: 'a\nb' });
  t.match(store, { kind: 'denied', action: 'PutObject', key: 'a\nb', status: 403 });
  t.match(store, { code: 'AccessDenied', requestId: 'R1', cause: error });
  t.match(store.message, /^PutObject "a\\nb": AccessDenied \(HTTP 403\): Access {1,2}Denied!/);
  t.ok(store.message.length < 300, 'however long the server’s text');
  t.notMatch(store.message, /AKIA|\p{Cc}/u);
  t.equal(toStoreError(store, { action: 'Other' }), store, 'a StoreError stays what it is');
  t.end();
});

void t.test('an aborted signal explains every failure', (t) => {
  const signal = AbortSignal.abort();
  const error = Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
  t.equal(toStoreError(error, { action: 'X', signal }).kind, 'aborted');
  const named = Object.assign(new Error('x'), { name: 'AbortError' });
  t.equal(toStoreError(named, { action: 'X' }).kind, 'aborted');
  t.end();
});

void t.test('the region is read from header or body, if it is one', (t) => {
  const headers = { 'x-amz-bucket-region': 'eu-west-3' };
  t.equal(errorFacts(answered('X', 301, { $response: { headers } })).region, 'eu-west-3');
  t.equal(errorFacts(answered('X', 400, { Region: 'us-west-2' })).region, 'us-west-2');
  t.equal(errorFacts(answered('X', 400, { Region: 'evil.example/' })).region, undefined);
  t.equal(errorFacts(answered('X', 400)).attempts, 2);
  t.ok(toStoreError(answered('X', 400), { action: 'X' }) instanceof StoreError);
  t.end();
});
