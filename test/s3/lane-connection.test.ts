/**
 * The lane's connection, fed byte by byte: how an answer is split says nothing about what it is, and
 * nothing that a server sends makes it crash, hang or mix answers up.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import t from 'tap';

import { systemClock } from '../../lib/clock.js';
import { LaneConnection } from '../../lib/s3/wire/lane-connection.js';
import type { LaneAnswer, LaneTimes, OnRead } from '../../lib/s3/wire/lane-connection.js';
import { LentBody } from '../../lib/s3/wire/lent-body.js';

const times: LaneTimes = { connectMs: 1000, answerMs: 1000, idleMs: 5000, longestLifeMs: 60_000 };

/** The socket's side: reads land in one buffer, and a paused one may deliver twice more, as TLS does. */
class Wire extends EventEmitter {
  readonly connecting = false;
  readonly sent: string[] = [];
  isDestroyed = false;
  freed = 0;
  /** of silence, ms */
  limit = 0;
  ended: (Error | undefined)[] = [];
  readonly connection: LaneConnection;
  readonly #buffer = Buffer.alloc(64 * 1024);
  #onread: OnRead | undefined;
  #isPaused = false;
  #resumed: (() => void) | undefined;
  #overruns = 0;

  constructor(readonly overrun = 0) {
    super();
    this.connection = new LaneConnection({
      buffer: this.#buffer,
      times,
      clock: systemClock,
      open: (onread) => {
        this.#onread = onread;
        return this as unknown as Socket;
      },
      onFree: () => this.freed++,
      onEnd: (error) => this.ended.push(error),
    });
  }

  setTimeout(ms: number): this {
    this.limit = ms;
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  write(text: Buffer): void {
    this.sent.push(text.toString());
  }
  resume(): this {
    this.#isPaused = false;
    this.#resumed?.();
    return this;
  }
  destroy(): void {
    this.isDestroyed = true;
    this.#resumed?.();
  }

  /** Delivers a piece once the socket is read. @returns whether it was */
  async feed(bytes: Uint8Array): Promise<boolean> {
    if (this.#isPaused && this.#overruns >= this.overrun && !this.isDestroyed) {
      await new Promise<void>((resolve) => (this.#resumed = resolve));
    }
    if (this.isDestroyed) return false;
    this.#overruns = this.#isPaused ? this.#overruns + 1 : 0;
    this.#buffer.set(bytes);
    const goesOn = this.#onread?.callback(bytes.length, this.#buffer) === true;
    if (!goesOn) this.#isPaused = true;
    // What was lent is not there any more.
    this.#buffer.fill(0xee, 0, bytes.length);
    return true;
  }

  async feedAll(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) if (!(await this.feed(piece))) return;
  }
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

async function bytesOf(answer: LaneAnswer | undefined, isSlow = false): Promise<Buffer> {
  const pieces: Buffer[] = [];
  if (answer?.body instanceof LentBody) {
    let calls = 0;
    await answer.body.drain((bytes) => {
      pieces.push(Buffer.from(bytes));
      if (!isSlow || calls++ % 2 === 0) return undefined;
      return new Promise((resolve) => setImmediate(resolve));
    });
  } else if (answer !== undefined) {
    for await (const piece of answer.body as AsyncIterable<Buffer>) pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

const cuts = fc.array(fc.nat(5000), { maxLength: 40 });
const request = Buffer.from('GET / HTTP/1.1\r\n\r\n');

void t.test('any split gives the same bytes, whatever the sink does', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      cuts,
      fc.boolean(),
      fc.nat(2),
      fc.boolean(),
      async (content, at, isSlow, overrun, isStream) => {
        const wire = new Wire(overrun);
        for (const round of [1, 2]) {
          const asked = wire.connection.get(request);
          const head = `HTTP/1.1 206 Fine\r\ncontent-length: ${content.length}\r\nX-Round: ${round}\r\n\r\n`;
          const feeding = wire.feedAll(split(Buffer.concat([Buffer.from(head), content]), at));
          const answer = await asked;
          const got = isStream
            ? Buffer.concat((await answer?.body.toArray()) as Buffer[])
            : await bytesOf(answer, isSlow);
          await feeding;
          t.ok(got.equals(content), 'the same bytes');
          t.equal(answer?.head.headers['x-round'], `${round}`);
          await new Promise((resolve) => setImmediate(resolve));
          t.equal(wire.freed, round, 'free for the next');
        }
        wire.connection.destroy();
      },
    ),
    { numRuns: 300 },
  );
});

void t.test(
  'errors come whole, by length, in chunks or to the end of the connection',
  async (t) => {
    const text = '<Error><Code>SlowDown</Code></Error>';
    const chunked = `5;a=b\r\n${text.slice(0, 5)}\r\n${(text.length - 5).toString(16)}\r\n${text.slice(5)}\r\n0\r\nt: x\r\n\r\n`;
    const forms: [string, string][] = [
      [`content-length: ${text.length}\r\n\r\n`, text],
      ['Transfer-Encoding: chunked\r\n\r\n', chunked],
      ['connection: close\r\n\r\n', text],
    ];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...forms), cuts, async ([fields, body], at) => {
        const wire = new Wire();
        const asked = wire.connection.get(request);
        const answer = Buffer.from(`HTTP/1.1 503 Slow Down\r\n${fields}${body}`);
        void wire.feedAll(split(answer, at)).then(() => wire.emit('end'));
        const got = await asked;
        t.equal(got?.head.status, 503);
        t.equal((await bytesOf(got)).toString(), text);
        wire.connection.destroy();
      }),
      { numRuns: 200 },
    );
  },
);

void t.test('what it does not speak goes another way, and it ends', async (t) => {
  const heads = [
    'HTTP/1.1 100 Continue',
    'HTTP/1.1 103 Early Hints\r\nlink: x',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked',
    'HTTP/1.1 206 OK',
    'HTTP/1.1 204 None',
    'HTTP/1.1 304 Not Modified',
    'HTTP/1.1 202 Accepted\r\ncontent-length: 3',
  ];
  for (const head of heads) {
    const wire = new Wire();
    const asked = wire.connection.get(request);
    void wire.feed(Buffer.from(`${head}\r\n\r\nabc`));
    t.equal(await asked, undefined, head);
    t.ok(wire.isDestroyed, head);
    t.strictSame(wire.ended, [undefined], 'no failure');
  }
});

void t.test('who breaks HTTP is told so', async (t) => {
  const ok = 'HTTP/1.1 200 OK\r\n';
  const broken: [string, RegExp][] = [
    ['SSH-2.0-OpenSSH\r\n\r\n', /no status line/],
    ['HTTP/2 200 OK\r\n\r\n', /no status line/],
    [`${ok}content-length: 3\r\ncontent-length: 3\r\n\r\nabc`, /two lengths/],
    [`${ok}content-length: 3\r\nContent-Length: 4\r\n\r\nabc`, /two lengths/],
    [`${ok}content-length: 3, 3\r\n\r\nabc`, /broken length/],
    [`${ok}content-length: -3\r\n\r\nabc`, /broken length/],
    [`${ok}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc`, /both/],
    [`${ok}content-length : 3\r\n\r\nabc`, /broken header line/],
    [`${ok}content-length: 3\r\n folded: x\r\n\r\nabc`, /broken header line/],
    [`${ok}content-length: 3\nx: y\r\n\r\nabc`, /broken header line/],
    [`${ok}x: \0\r\ncontent-length: 3\r\n\r\nabc`, /broken header line/],
    [`${ok}x: ${'y'.repeat(17_000)}\r\n\r\n`, /over 16384 bytes/],
    [`${ok}x: ${'y'.repeat(17_000)}`, /over 16384 bytes/],
    ['HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n', /broken chunk/],
  ];
  for (const [text, message] of broken) {
    const wire = new Wire();
    const asked = wire.connection.get(request);
    await wire.feed(Buffer.from(text));
    await t.rejects(asked, { name: 'BrokenAnswer', message }, text.slice(0, 60));
    t.ok(wire.isDestroyed);
  }
  const wire = new Wire();
  const asked = wire.connection.get(request);
  await wire.feed(Buffer.from(`${ok}content-length: 3\r\n\r\nabcd`));
  await t.rejects(bytesOf(await asked), { name: 'BrokenAnswer', message: /bytes after the end/ });
  const idle = new Wire();
  await idle.feed(Buffer.from(`${ok}content-length: 0\r\n\r\n`));
  t.match(idle.ended, [{ message: /nobody asked for/ }]);
});

void t.test('bytes at random never crash or hang it', async () => {
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom('HTTP/1.1 200 OK\r\n', 'HTTP/1.1 206 X\r\n', 'HTTP/1.1 500 X\r\n', '\r\n'),
      fc.constantFrom('content-length: 5\r\n', 'transfer-encoding: chunked\r\n', '5\r\nabcde\r\n'),
      fc.constantFrom('\r\n\r\n', '0\r\n\r\n', 'HTTP/1.1 100 Continue\r\n\r\n', 'abcde'),
      fc.string({ maxLength: 12 }),
    ),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(pieces, cuts, async (texts, at) => {
      const wire = new Wire(2);
      const asked = wire.connection.get(request).then((answer) => bytesOf(answer));
      const settled = asked.then(
        () => undefined,
        () => undefined,
      );
      await Promise.race([settled, wire.feedAll(split(Buffer.from(texts.join('')), at))]);
      wire.emit('close');
      await settled;
    }),
    { numRuns: 500 },
  );
});

void t.test('a sink that throws, rejects or leaves ends the connection', async (t) => {
  const start = async (): Promise<{ wire: Wire; body: LentBody }> => {
    const wire = new Wire();
    const asked = wire.connection.get(request);
    await wire.feed(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab'));
    return { wire, body: (await asked)?.body as LentBody };
  };
  const failure = new Error('no');
  {
    const { wire, body } = await start();
    await t.rejects(
      body.drain(() => {
        throw failure;
      }),
      failure,
    );
    t.ok(wire.isDestroyed);
  }
  {
    const { wire, body } = await start();
    await t.rejects(
      body.drain(() => Promise.reject(failure)),
      failure,
    );
    t.ok(wire.isDestroyed);
  }
  {
    const { wire, body } = await start();
    let calls = 0;
    const drained = body.drain(() => {
      calls++;
      return undefined;
    });
    body.destroy();
    await t.rejects(drained, { message: /given up/ });
    t.ok(wire.isDestroyed);
    t.equal(calls, 1);
  }
  {
    const { wire, body } = await start();
    const seen: string[] = [];
    let room: () => void = () => undefined;
    const drained = body.drain((bytes) => {
      seen.push(Buffer.from(bytes).toString());
      return new Promise((resolve) => (room = resolve));
    });
    wire.emit('close');
    let isOver = false;
    const over = t.rejects(drained, { code: 'ECONNRESET' }).then(() => (isOver = true));
    await new Promise((resolve) => setImmediate(resolve));
    t.notOk(isOver, 'no end before the sink has room');
    room();
    await over;
    t.strictSame(seen, ['ab'], 'called once');
  }
});

void t.test('a slow sink of an answer that is complete does not touch the next one', async (t) => {
  const wire = new Wire();
  const asked = wire.connection.get(request);
  await wire.feed(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab'));
  const body = (await asked)?.body as LentBody;
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(wire.freed, 1);
  const next = wire.connection.get(request);
  const { limit } = wire;
  t.ok(limit > 0);
  await body.drain(() => Promise.resolve());
  t.equal(wire.limit, limit, 'silence is noticed still');
  wire.connection.destroy();
  await t.rejects(next);
});

void t.test('an abort ends it at any time', async (t) => {
  for (const sent of ['', 'HTTP/1.1 200', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab']) {
    const wire = new Wire();
    const abort = new AbortController();
    const asked = wire.connection.get(request, abort.signal).then((answer) => bytesOf(answer));
    if (sent !== '') await wire.feed(Buffer.from(sent));
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    await t.rejects(asked, { name: 'AbortError' }, sent);
    t.ok(wire.isDestroyed);
  }
  const wire = new Wire();
  const asked = wire.connection.get(request, AbortSignal.abort());
  await t.rejects(asked, { name: 'AbortError' });
  t.strictSame(wire.sent, [], 'nothing was sent');
});
