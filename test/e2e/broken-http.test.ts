/**
 * A whole mount before a server that breaks HTTP: programs are told the truth or EIO, in time, the log
 * says what was wrong, and what is asked afterwards is answered. All share its connections, so an answer
 * nobody asked for may be taken for that to another request, and be no answer to it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { mustRun } from '../../lib/demo/child.js';
import { brokenAnswers } from '../support/broken-answers.js';
import { inParallel } from '../support/bucket.js';
import { environment } from '../support/command.js';
import { mountForTest } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import { useRawProxy } from '../support/raw-proxy.js';
import { useServer } from '../support/servers.js';
import { until } from '../support/until.js';

const timeoutMs = 3000;
/** Some of each kind; test/s3/broken-http.test.ts has all. */
const forms = Object.keys(brokenAnswers).filter((_, index) => index % 5 === 1);
const small = Buffer.alloc(1000, 'small ');
const large = Buffer.alloc(150_000, 'large content ');
const huge = Buffer.alloc(1_000_000, 'huge content ');

/** In a process of its own, with a thread for each wait. Prints what came of each operation. */
const program = `
const fs = require('fs/promises');
const [round, ...forms] = process.argv.slice(1);
const told = async (promise) => String((await promise) ?? 'done');
// Not by readFile, which takes a short read for the end of the file: the next one would tell of the failure.
const bytes = async (path, at, end) => {
  const file = await fs.open(path);
  const pieces = [];
  try {
    while (at < end) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(end - at), 0, end - at, at);
      if (bytesRead === 0) break;
      pieces.push(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
  return Buffer.concat(pieces).toString('latin1');
};
const operations = {
  stat: async (form) => String((await fs.stat('s/' + form + '-small')).size),
  list: async (form) => (await fs.readdir('l/' + form + '-l')).sort().join(),
  little: (form) => bytes('r/' + form + '-small', 0, 5000),
  much: (form) => bytes('r/' + form + '-large', 0, 200_000),
  piece: (form) => bytes('r/' + form + '-huge', 600_000, 700_000),
  write: (form) => told(fs.writeFile('w' + form + '/' + form + '-' + round, 'new')),
  remove: (form) => told(fs.rm('d' + form + '/' + form + '-' + round)),
  move: (form) => told(fs.rename('m' + form + '/' + form + '-' + round, 'm' + form + '/moved' + round)),
};
Promise.all(
  forms.flatMap((form) =>
    Object.entries(operations).map(async ([operation, perform]) => {
      const start = performance.now();
      const came = await perform(form).catch((error) => error.code ?? String(error));
      return { form, operation, came, tookMs: performance.now() - start };
    }),
  ),
).then((all) => console.log(JSON.stringify(all)));
`;

const truths: Readonly<Record<string, string>> = {
  stat: String(small.length),
  list: 'a,b',
  little: small.toString(),
  much: large.toString(),
  piece: huge.toString('latin1', 600_000, 700_000),
  write: 'done',
  remove: 'done',
  move: 'done',
};

interface Came {
  readonly form: string;
  readonly operation: string;
  readonly came: string;
  readonly tookMs: number;
}

void t.test('programs on a mount are told the truth or EIO', async (t) => {
  t.setTimeout(600_000);
  const server = await useServer(t, 'embedded');
  const { bucket } = server;
  const names = forms.map((_, index) => `form${index}`);
  const objects = names.flatMap((form): [string, Buffer][] => [
    [`s/${form}-small`, small],
    [`l/${form}-l/a`, small],
    [`l/${form}-l/b`, small],
    [`r/${form}-small`, small],
    [`r/${form}-large`, large],
    [`r/${form}-huge`, huge],
    ...['w', 'd', 'm'].map((kind): [string, Buffer] => [`${kind}${form}/stays`, small]),
    ...['d', 'm'].flatMap((kind): [string, Buffer][] => [
      [`${kind}${form}/${form}-1`, small],
      [`${kind}${form}/${form}-2`, small],
    ]),
  ]);
  await inParallel(8, objects, ([key, body]) => bucket.put(key, body));
  const proxy = await useRawProxy(t, server.url);
  const mounted = await mountForTest(t, {
    server,
    url: proxy.url,
    place: await makePlace(t),
    driver: 'kernel',
    options: ['--timeout', `${timeoutMs / 1000}s`, '--access', 'any', '--metadata-ttl', '0s'],
  });
  /** Some at a time: this process is the server, too. */
  const perform = async (round: 1 | 2): Promise<readonly Came[]> => {
    const all: Came[] = [];
    for (let at = 0; at < names.length; at += 12) {
      const args = ['-e', program, String(round), ...names.slice(at, at + 12)];
      const child = spawn(process.execPath, args, {
        cwd: mounted.mountPoint,
        env: environment({ UV_THREADPOOL_SIZE: '128' }),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [said] = await Promise.all([text(child.stdout), once(child, 'exit')]);
      all.push(...(JSON.parse(said) as Came[]));
    }
    return all;
  };
  const formOf = (name: string): string => forms[Number(name.slice('form'.length))] ?? '';

  // By itself: among others it may be taken for the answer to the next request, and be told as no answer.
  await bucket.put('late', small);
  const late = brokenAnswers['another answer some time later'];
  proxy.script = (exchange) => (/late/.test(exchange.target) ? late?.write(exchange) : undefined);
  await mustRun('stat', [join(mounted.mountPoint, 'late')]);
  await until(() => mounted.log().includes('an answer nobody asked for'));

  proxy.script = (exchange) => {
    const [name] = /form\d+(?=-)/.exec(exchange.target) ?? [];
    return name === undefined ? undefined : brokenAnswers[formOf(name)]?.write(exchange);
  };
  for (const { form, operation, came, tookMs } of await perform(1)) {
    const at = `${operation}: ${formOf(form)}`;
    // The length that a HEAD tells is all there is to know: the kernel ends the file by it.
    const isLie =
      /^a length too/.test(formOf(form)) &&
      (operation === 'stat' || truths[operation]?.startsWith(came) === true);
    const isTrue = came === truths[operation];
    t.ok(isTrue || isLie || came === 'EIO', at, { came: came.slice(0, 80) });
    t.ok(tookMs < 10 * timeoutMs, `${at}: in time`, { tookMs });
  }
  const log = mounted.log();
  t.match(log, /Duplicate Content-Length/);
  t.match(log, /an answer nobody asked for/);
  const told = log.match(/what the endpoint sent is not HTTP/g) ?? [];
  t.ok(told.length <= 8, 'what it does often is not told each time', { times: told.length });

  proxy.script = () => undefined;
  // What hangs is asked again, as after the restart of a server.
  proxy.cut();
  for (const { form, operation, came } of await perform(2)) {
    const at = `${operation}: ${formOf(form)}: and then the truth`;
    t.ok(came === truths[operation], at, { came: came.slice(0, 80) });
  }
});
