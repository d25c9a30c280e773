/**
 * Requests as they are on the wire, for what no SDK would send.
 */
import { request as startRequest, type IncomingHttpHeaders } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface RawRequest {
  readonly method?: string;
  /** sent as it is */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** the S3 error code, or undefined */
  readonly code: string | undefined;
}

export function send(url: string, wanted: RawRequest): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const { method = 'GET', path, headers, body } = wanted;
  return new Promise((resolve, reject) => {
    const request = startRequest({ hostname, port, method, path, headers }, (answer) => {
      buffer(answer).then((bytes) => {
        const text = bytes.toString();
        const code = /<Code>(\w+)<\/Code>/.exec(text)?.[1];
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text, code });
      }, reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}
