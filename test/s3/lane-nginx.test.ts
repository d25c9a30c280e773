/**
 * Large ranges through nginx, which many put before their S3: it buffers, cuts otherwise than the server
 * behind it, speaks TLS, and ends connections after some requests and where it is reloaded.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Child, endProcesses, sendSignal } from '../../lib/demo/child.js';
import { freePort } from '../../lib/demo/sshd.js';
import { inParallel } from '../../lib/concurrency/in-parallel.js';
import type { Key } from '../../lib/path.js';
import type { S3Store } from '../../lib/s3/s3-store.js';
import type { ByteRange } from '../../lib/store.js';
import { makeCertificate } from '../support/certificate.js';
import { testKey, useEndpoint } from '../support/embedded.js';
import { kibibyte, mebibyte } from '../support/sizes.js';
import { useStore } from '../support/store.js';
import { until } from '../support/until.js';

const program = '/usr/sbin/nginx';
const isHere = existsSync(program);
const requestsEach = 5;
const key = 'large' as Key;
const content = Buffer.alloc(4 * mebibyte, 'a line of some length that is no power of two\n');

interface Nginx {
  readonly url: string;
  readonly child: Child;
  /** ranges that it served, and on how many connections */
  readonly served: () => Promise<{ connections: number; requests: number }>;
}

interface NginxSettings {
  readonly target: string;
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  readonly buffering: string;
}

async function useNginx(t: Test, { target, tls, buffering }: NginxSettings): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 's3jail-nginx-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const files = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') };
  if (tls !== undefined) {
    await writeFile(files.key, tls.key, { mode: 0o600 });
    await writeFile(files.cert, tls.cert);
  }
  const secure = `ssl_certificate ${files.cert}; ssl_certificate_key ${files.key};`;
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const temporary = kinds.map((kind) => `${kind}_temp_path ${join(folder, kind)};`).join('\n');
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off;
user root;
pid ${join(folder, 'pid')};
error_log stderr;
worker_processes 1;
events {}
http {
  ${temporary}
  log_format served '$status $connection';
  access_log ${join(folder, 'served')} served;
  keepalive_requests ${requestsEach};
  client_max_body_size 0;
  server {
    listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'};
    ${tls === undefined ? '' : secure}
    location / {
      proxy_pass ${target};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_buffering ${buffering};
    }
  }
}
`,
  );
  const child = await Child.start(program, ['-p', folder, '-c', join(folder, 'nginx.conf')]);
  t.teardown(() => endProcesses([child.pid]));
  await until(async () => {
    if (!child.isRunning) throw new Error(child.stderr);
    return await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
  });
  const lines = async (): Promise<string[]> =>
    (await readFile(join(folder, 'served'), 'utf8'))
      .split('\n')
      .filter((line) => /^206 /.test(line));
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    child,
    served: async () => {
      const connections = await lines();
      return { connections: new Set(connections).size, requests: connections.length };
    },
  };
}

async function rangeOf(store: S3Store, range: ByteRange): Promise<Buffer> {
  const { body } = await store.get(key, { range });
  const pieces: Buffer[] = [];
  await body.drain((piece) => void pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces);
}

/** More than 64 KiB each: what is less goes the ordinary way. */
const ranges = fc.sample(
  fc
    .tuple(
      fc.nat(content.length - 100 * kibibyte),
      fc.integer({ min: 65 * kibibyte, max: mebibyte }),
    )
    .map(([start, length]) => ({ start, end: Math.min(content.length, start + length) })),
  { numRuns: 60, seed: 1 },
);

for (const scheme of ['http', 'https'] as const) {
  for (const buffering of ['on', 'off']) {
    const name = `${scheme}, proxy_buffering ${buffering}`;
    if (!isHere) {
      void t.test(`${name}: not run, nginx is not installed`, { skip: true }, () => undefined);
      continue;
    }
    void t.test(name, async (t) => {
      const endpoint = await useEndpoint(t);
      const certificate = scheme === 'https' ? await makeCertificate(t) : undefined;
      const nginx = await useNginx(t, { target: endpoint.url, tls: certificate, buffering });
      const store = useStore(t, nginx.url, {
        credentials: testKey,
        timeoutMs: 60_000,
        caBundle: certificate?.file,
      });
      await store.put(key, [content]);
      const check = async (range: ByteRange): Promise<void> => {
        const got = await rangeOf(store, range);
        t.ok(got.equals(content.subarray(range.start, range.end)), JSON.stringify(range));
      };
      await inParallel(4, ranges, check);
      // It writes its log when all is done.
      await until(async () => (await nginx.served()).requests >= ranges.length);
      const { requests, connections } = await nginx.served();
      t.equal(requests, ranges.length, 'none is asked for twice');
      t.ok(connections >= ranges.length / requestsEach, 'nginx ends a connection after some');
      t.ok(connections <= ranges.length / 2, `${connections} connections are used again`);
      sendSignal(nginx.child.pid, 'SIGHUP');
      await inParallel(4, ranges.slice(0, 20), check);
    });
  }
}
