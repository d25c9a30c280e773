/**
 * An S3 server of which only a listing is there: the directory `vast/` with any number of files. None
 * of them is kept anywhere, so that a million of them cost the test no memory.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Test } from 'tap';
import { children, document, join, record, type Markup } from '../../lib/endpoint/wire/xml.js';
import { startMount, type MountProcess } from '../../lib/demo/mount-process.js';
import { listen } from './listen.js';

export interface VastDirectory {
  readonly url: string;
  /** requests for a page of the directory */
  readonly pages: number;
  /** requests for attributes of one of its files */
  readonly heads: number;
}

const pageSize = 1000;

/** The name of a file; they come in this order. */
export function vastName(index: number): string {
  return `file-${String(index).padStart(8, '0')}`;
}

/** Bytes of a file. */
export function vastSize(index: number): number {
  return index * 3;
}

/** @param pageMs how long a page takes */
export async function startVastDirectory(
  t: Test,
  entries: number,
  pageMs = 0,
): Promise<VastDirectory> {
  const counts = { pages: 0, heads: 0 };
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const isFile = pathname.includes('/vast/');
    if (isFile) counts.heads++;
    if (request.method !== 'GET' || isFile || !searchParams.has('list-type')) {
      response.writeHead(404).end();
      return;
    }
    const isDirectory = searchParams.get('prefix') === 'vast/';
    const isProbe = searchParams.has('max-keys');
    if (isDirectory && !isProbe) counts.pages++;
    const from = Number(searchParams.get('continuation-token') ?? 0);
    const count = isProbe ? 1 : pageSize;
    const end = (): void => {
      response.end(isDirectory ? page(from, Math.min(entries, from + count), entries) : top());
    };
    if (pageMs === 0) end();
    else setTimeout(end, pageMs);
  };
  return {
    url: await listen(t, createServer(answer)),
    get pages() {
      return counts.pages;
    },
    get heads() {
      return counts.heads;
    },
  };
}

function page(from: number, to: number, entries: number): string {
  const files: Markup[] = [];
  for (let index = from; index < to; index++) {
    files.push(
      record('Contents', {
        Key: `vast/${vastName(index)}`,
        Size: vastSize(index),
        ETag: `"${String(index).padStart(32, '0')}"`,
        LastModified: '2026-01-01T00:00:00.000Z',
        StorageClass: 'STANDARD',
      }),
    );
  }
  const isCut = to < entries;
  const head = { Name: 'bucket', KeyCount: to - from, IsTruncated: isCut };
  const next = isCut ? { NextContinuationToken: String(to) } : {};
  return document('ListBucketResult', join(children({ ...head, ...next }), ...files));
}

function top(): string {
  const head = children({ Name: 'bucket', KeyCount: 1, IsTruncated: false });
  const prefix = record('CommonPrefixes', { Prefix: 'vast/' });
  return document('ListBucketResult', join(head, prefix));
}

/** A mount of it, without looking at the bucket first; gone with the test. */
export async function mountVast(
  t: Test,
  vast: VastDirectory,
  where: { mountPoint: string; temp: string; options?: readonly string[] },
): Promise<MountProcess> {
  const { mountPoint, temp, options = [] } = where;
  const mount = await startMount({
    source: 's3://bucket/',
    mountPoint,
    endpointUrl: vast.url,
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
    options: ['--read-only', '--no-check-bucket', '--temp-dir', temp, ...options],
    output: 'keep',
  });
  t.teardown(() => mount.stop());
  return mount;
}
