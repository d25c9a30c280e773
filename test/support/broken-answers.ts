/**
 * Answers that break HTTP/1.1 (RFC 9110, RFC 9112), or only look as if they did, each made of the true
 * one. By what is wrong with them.
 */
import type { RawExchange, RawStep } from './raw-proxy.js';
import { end, reset, usual } from './raw-proxy.js';

export interface BrokenAnswer {
  write(exchange: RawExchange): Iterable<RawStep>;
  /**
   * `right`: it says all that is needed, and has to be understood; `wrong`: nothing can be believed.
   * Neither where it depends on what was asked, and on which reader it has.
   */
  readonly is?: 'right' | 'wrong';
}

const headOf = ({ status, fields }: RawExchange, more = ''): string =>
  `HTTP/1.1 ${status} Fine\r\n${fields}${more}`;

/** With fields that say how long the body is. */
function framed(framing: (length: number) => string, body = (e: RawExchange): Buffer => e.body) {
  return (exchange: RawExchange): RawStep[] => [
    headOf(exchange, `${framing(exchange.length)}\r\n`),
    ...(exchange.method === 'HEAD' ? [] : [body(exchange)]),
  ];
}

const length = (bytes: number | string): string => `content-length: ${bytes}\r\n`;
const chunked = 'transfer-encoding: chunked\r\n';

function inChunks(body: Buffer, size = 1000, extension = ''): Buffer {
  const pieces: (string | Buffer)[] = [];
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size);
    pieces.push(`${piece.length.toString(16)}${extension}\r\n`, piece, '\r\n');
  }
  return Buffer.concat([...pieces, '0\r\n\r\n'].map((piece) => Buffer.from(piece)));
}

/** Another object's content, whole and by itself a right answer. */
function other(exchange: RawExchange): Buffer {
  const body = Buffer.alloc(exchange.body.length, 'WRONG!');
  return Buffer.concat([Buffer.from(headOf(exchange, `${length(body.length)}\r\n`)), body]);
}

function beginning({ body }: RawExchange): Buffer {
  return body.subarray(0, Math.floor(body.length / 2));
}

export const brokenAnswers: Readonly<Record<string, BrokenAnswer>> = {
  'two lengths that agree': { write: framed((n) => length(n) + length(n)) },
  'two lengths, the first too short': { write: framed((n) => length(1) + length(n)) },
  'two lengths, the last too short': { write: framed((n) => length(n) + length(1)) },
  'a list of lengths': { write: framed((n) => length(`${n}, ${n}`)) },
  'a length and chunks': {
    write: framed(
      (n) => length(n) + chunked,
      (e) => inChunks(e.body),
    ),
  },
  'a length and no chunks': { write: framed((n) => chunked + length(n)) },
  'a negative length': { write: framed(() => length(-1)) },
  'a length in hex': { write: framed((n) => length(`0x${n.toString(16)}`)) },
  'a length with a sign': { write: framed((n) => length(`+${n}`)) },
  'a length beyond numbers': { write: framed(() => length('9'.repeat(30))) },
  'no number for a length': { write: framed(() => length('many')) },
  'a length too short': { write: framed((n) => length(Math.max(0, n - 7))) },
  'a length too long, then silence': { write: framed((n) => length(n + 7)) },
  'a length too long, then the end': {
    write: (e) => [...framed((n) => length(n + 7))(e), end],
  },
  'garbage behind it': { write: (e) => [...usual(e), '\0garbage\r\n\r\n'] },
  'another answer behind it': { write: (e) => [...usual(e), other(e)] },
  'another answer behind it, in one piece': {
    write: (e) => [Buffer.concat([...usual(e).map((s) => Buffer.from(s as Buffer)), other(e)])],
  },
  'another answer some time later': { write: (e) => [...usual(e), 30, other(e)] },
  'garbage some time later': { write: (e) => [...usual(e), 30, 'garbage'] },
  'one hundred continues before it': {
    write: (e) => ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(100), ...usual(e)],
    is: 'right',
  },
  'early hints before it': {
    write: (e) => ['HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n', ...usual(e)],
    is: 'right',
  },
  'processing without end': { write: processing, is: 'wrong' },
  'another protocol': {
    write: (e) => [
      'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
      ...usual(e),
    ],
    is: 'wrong',
  },
  chunks: {
    write: framed(
      () => chunked,
      (e) => inChunks(e.body),
    ),
  },
  'chunks with extensions': {
    write: framed(
      () => chunked,
      (e) => inChunks(e.body, 1000, ';name="value"'),
    ),
  },
  'chunks with a trailer': {
    write: framed(
      () => chunked,
      (e) => Buffer.concat([inChunks(e.body).subarray(0, -2), Buffer.from('x: y\r\n\r\n')]),
    ),
  },
  'chunks with a huge extension': {
    write: framed(
      () => chunked,
      (e) => inChunks(e.body, 100_000, `;${'x'.repeat(100_000)}`),
    ),
  },
  'chunks with a huge trailer': {
    write: (e) => [
      ...framed(
        () => chunked,
        (e) => inChunks(e.body).subarray(0, -2),
      )(e),
      `x: ${'y'.repeat(1_000_000)}\r\n\r\n`,
    ],
  },
  'a chunk whose size is none': {
    write: framed(
      () => chunked,
      (e) => Buffer.concat([Buffer.from('zz\r\n'), e.body]),
    ),
  },
  'a chunk of more than all numbers': {
    write: framed(
      () => chunked,
      (e) => Buffer.concat([Buffer.from(`${'f'.repeat(20)}\r\n`), e.body]),
    ),
  },
  'chunks without the last one': {
    write: (e) => [
      ...framed(
        () => chunked,
        (e) => inChunks(e.body).subarray(0, -5),
      )(e),
      end,
    ],
  },
  'chunks that stop': {
    write: (e) =>
      framed(
        () => chunked,
        (e) => inChunks(beginning(e)).subarray(0, -5),
      )(e),
  },
  'chunks longer than they say': {
    write: framed(
      () => chunked,
      (e) => Buffer.concat([Buffer.from('1\r\n'), e.body, Buffer.from('\r\n0\r\n\r\n')]),
    ),
  },
  'an encoding nobody knows': { write: framed(() => 'transfer-encoding: gzip, chunked\r\n') },
  'a body to the end of the connection': { write: (e) => [...framed(() => '')(e), end] },
  'half a body to the end of the connection': {
    write: (e) => [...framed(() => '', beginning)(e), end],
  },
  'half a body, then a reset': {
    write: (e) => [...framed((n) => length(n), beginning)(e), 20, reset],
  },
  'half a body, then the end': {
    write: (e) => [...framed((n) => length(n), beginning)(e), end],
  },
  'half a body, then silence': { write: framed((n) => length(n), beginning) },
  'half a head, then silence': { write: (e) => [headOf(e)], is: 'wrong' },
  'half a head, then the end': { write: (e) => [headOf(e), end], is: 'wrong' },
  'half a head, then a reset': { write: (e) => [headOf(e), 20, reset], is: 'wrong' },
  silence: { write: () => [], is: 'wrong' },
  'the end at once': { write: () => [end], is: 'wrong' },
  'a reset at once': { write: () => [reset], is: 'wrong' },
  'one huge header': {
    write: framed((n) => `x: ${'y'.repeat(200_000)}\r\n${length(n)}`),
    is: 'wrong',
  },
  'headers without number': {
    write: framed((n) => `x: y\r\n`.repeat(50_000) + length(n)),
    is: 'wrong',
  },
  'a status line without end': {
    write: () => [`HTTP/1.1 200 ${'x'.repeat(200_000)}`],
    is: 'wrong',
  },
  'headers without end': {
    write: () => [
      'HTTP/1.1 200 OK\r\n',
      ...Array.from({ length: 500 }, () => `x: ${'y'.repeat(1000)}\r\n`),
    ],
    is: 'wrong',
  },
  'a head byte by byte': {
    write: (e) => [...(headOf(e, length(e.length)).match(/./gs) ?? []), '\r\n', e.body],
    is: 'right',
  },
  'a header with a null': { write: framed((n) => `x: \0\r\n${length(n)}`) },
  'a header that is folded': { write: framed((n) => `x: y\r\n z\r\n${length(n)}`) },
  'white space before a colon': { write: framed((n) => `content-length : ${n}\r\n`) },
  'a header without a colon': { write: framed((n) => `what\r\n${length(n)}`), is: 'wrong' },
  'lines that end in LF': {
    write: (e) => [headOf(e, length(e.length)).replaceAll('\r', '') + '\n', e.body],
  },
  'a body without a head': { write: ({ body }) => [body, end], is: 'wrong' },
  'a banner of SSH': { write: () => ['SSH-2.0-OpenSSH_9.2\r\n'], is: 'wrong' },
  'a banner of mail': { write: () => ['220 mail.example.org ESMTP\r\n'], is: 'wrong' },
  'frames of HTTP/2': {
    write: () => [Buffer.from('000012040000000000000300000064000400100000000600004000', 'hex')],
    is: 'wrong',
  },
  'an alert of TLS': { write: () => [Buffer.from('15030100020246', 'hex'), end], is: 'wrong' },
  'HTTP/1.0': {
    write: (e) => [
      ...usual(e).map((s) => (typeof s === 'string' ? s.replace('1.1', '1.0') : s)),
      end,
    ],
    is: 'right',
  },
  'HTTP/2.0': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace('1.1', '2.0') : s)),
  },
  'a status of two digits': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 20 ') : s)),
    is: 'wrong',
  },
  'a status of four digits': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 2000 ') : s)),
    is: 'wrong',
  },
  'a status of 999': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 999 ') : s)),
    is: 'wrong',
  },
  'a status of 299': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 299 ') : s)),
  },
  'a status of 204 and a body': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 204 ') : s)),
  },
  'a status of 304 and a body': {
    write: (e) => usual(e).map((s) => (typeof s === 'string' ? s.replace(/ \d{3} /, ' 304 ') : s)),
    is: 'wrong',
  },
  'a way elsewhere': {
    write: () => [
      'HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n',
    ],
    is: 'wrong',
  },
  'the end announced, and more behind it': {
    write: (e) => [...framed((n) => `connection: close\r\n${length(n)}`)(e), other(e), end],
  },
  'the end announced, and the connection left open': {
    write: framed((n) => `connection: close\r\n${length(n)}`),
    is: 'right',
  },
  'a connection kept for no time': {
    write: framed((n) => `connection: keep-alive\r\nkeep-alive: timeout=0\r\n${length(n)}`),
    is: 'right',
  },
  'a body to a HEAD': {
    write: (e) => [headOf(e, `${length(e.length)}\r\n`), e.method === 'HEAD' ? 'a body' : e.body],
  },
};

/** Interim answers, as long as somebody listens. */
function* processing(): Iterable<RawStep> {
  for (;;) {
    yield 'HTTP/1.1 102 Processing\r\n\r\n';
    yield 20;
  }
}
