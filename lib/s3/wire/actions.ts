/**
 * The actions that the project writes and reads by itself: the request for each input, and the output
 * that an answer stands for. Inputs and outputs are the SDK's, with the fields that the store uses; an
 * input with another field goes by the SDK.
 */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { UploadPartCommandInput } from '@aws-sdk/client-s3';
import { extendedEncodeURIComponent } from '@smithy/core/protocols';
import type { HttpResponse } from '@smithy/types';

import { headersOf, objectFields, writtenFields } from './fields.js';
import { listDocument } from './list-document.js';

/** What a request asks, without where it goes. */
export interface WireRequest {
  readonly method: 'HEAD' | 'GET' | 'PUT' | 'DELETE';
  /** escaped, from the slash before the key on */
  readonly path: string;
  readonly query: Record<string, string>;
  readonly headers: Record<string, string>;
  readonly body?: Buffer;
}

export interface WireAction {
  /** as S3 names it */
  readonly name: string;
  /** @returns undefined for an input that the SDK has to send */
  request(input: object): WireRequest | undefined;
  /** @throws Error for an answer that is none to this action */
  output(answer: HttpResponse): object;
}

/** Fields that go into the path, the query and the body. */
const elsewhere: ReadonlySet<string> = new Set(['Bucket', 'Key', 'PartNumber', 'UploadId', 'Body']);

const headObject: WireAction = {
  name: 'HeadObject',
  request: (input) => aboutObject('HEAD', input),
  output: objectFields,
};

const getObject: WireAction = {
  name: 'GetObject',
  request: (input) => aboutObject('GET', input, { 'x-id': 'GetObject' }),
  output: (answer) => ({ ...objectFields(answer), Body: answer.body as unknown }),
};

const deleteObject: WireAction = {
  name: 'DeleteObject',
  request: (input) => aboutObject('DELETE', input, { 'x-id': 'DeleteObject' }),
  output: writtenFields,
};

const putObject: WireAction = {
  name: 'PutObject',
  request: (input) => withBody(input, { 'x-id': 'PutObject' }),
  output: writtenFields,
};

const uploadPart: WireAction = {
  name: 'UploadPart',
  request: (input: UploadPartCommandInput) => {
    const { UploadId: uploadId = '', PartNumber: partNumber = 0 } = input;
    return withBody(input, { 'x-id': 'UploadPart', uploadId, partNumber: String(partNumber) });
  },
  output: writtenFields,
};

const listObjectsV2: WireAction = {
  name: 'ListObjectsV2',
  request: (input) => aboutBucket(input, { 'list-type': '2' }),
  output: listOutput,
};

const listObjects: WireAction = {
  name: 'ListObjects',
  request: (input) => aboutBucket(input, {}),
  output: listOutput,
};

/** By the SDK's class for a command. */
export const actions: ReadonlyMap<unknown, WireAction> = new Map<unknown, WireAction>([
  [HeadObjectCommand, headObject],
  [GetObjectCommand, getObject],
  [DeleteObjectCommand, deleteObject],
  [PutObjectCommand, putObject],
  [UploadPartCommand, uploadPart],
  [ListObjectsV2Command, listObjectsV2],
  [ListObjectsCommand, listObjects],
]);

function aboutObject(
  method: WireRequest['method'],
  input: { readonly Key?: string | undefined },
  query: Record<string, string> = {},
): WireRequest | undefined {
  const headers = headersOf(input, elsewhere);
  const { Key: key = '' } = input;
  if (headers === undefined || key === '') return undefined;
  return { method, path: `/${keyPath(key)}`, query, headers };
}

/** Of a buffer. What is streamed names its length, which is no field here, and so goes by the SDK. */
function withBody(
  input: { readonly Key?: string | undefined; readonly Body?: unknown },
  query: Record<string, string>,
): WireRequest | undefined {
  const { Body: body } = input;
  const request = aboutObject('PUT', input, query);
  if (request === undefined || !Buffer.isBuffer(body)) return undefined;
  const headers = {
    // What the absence of a type means to S3.
    'content-type': 'application/octet-stream',
    ...request.headers,
    'content-length': String(body.length),
  };
  return { ...request, headers, body };
}

const parameters: Readonly<Record<string, string>> = {
  ContinuationToken: 'continuation-token',
  Delimiter: 'delimiter',
  EncodingType: 'encoding-type',
  Marker: 'marker',
  MaxKeys: 'max-keys',
  Prefix: 'prefix',
  StartAfter: 'start-after',
};
const inQuery: ReadonlySet<string> = new Set(['Bucket', ...Object.keys(parameters)]);

function aboutBucket(input: object, query: Record<string, string>): WireRequest | undefined {
  const headers = headersOf(input, inQuery);
  if (headers === undefined) return undefined;
  for (const [field, value] of Object.entries(input) as [string, string | number | undefined][]) {
    const name = parameters[field];
    if (name !== undefined && value !== undefined) query[name] = String(value);
  }
  return { method: 'GET', path: '/', query, headers };
}

function listOutput({ body }: HttpResponse): object {
  if (!Buffer.isBuffer(body)) throw new Error('a listing without a document');
  return listDocument(body);
}

/** Slashes stand for themselves. */
function keyPath(key: string): string {
  return key.split('/').map(extendedEncodeURIComponent).join('/');
}
