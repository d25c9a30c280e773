/** A page on a terminal that renews itself until its reader has seen enough, and scrolls. */
import { setTimeout as sleep } from 'node:timers/promises';

const refreshMs = 1000;
const enterPage = '\x1b[?1049h\x1b[?25l';
const leavePage = '\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const clearToLineEnd = '\x1b[K';
const clearBelow = '\x1b[J';

/** What the keys move the page by: lines, or (as it is said) whole pages. */
const moves: readonly [keys: RegExp, lines: number, pages: number][] = [
  [/^(\x1b\[B|\x1bOB|j)$/, 1, 0],
  [/^(\x1b\[A|\x1bOA|k)$/, -1, 0],
  [/^(\x1b\[6~| )$/, 0, 1],
  [/^(\x1b\[5~|b)$/, 0, -1],
];

/** @param render the lines as of now; asked again each second until `q`, Ctrl-C or SIGTERM */
export async function showLive(render: () => Promise<readonly string[]>): Promise<void> {
  const { stdin, stdout } = process;
  const ended = new AbortController();
  const end = (): void => ended.abort();
  // Redrawn at once when a key moved the page.
  let moved = new AbortController();
  let first = 0;
  const onKey = (keys: Buffer): void => {
    const text = keys.toString('latin1');
    if (/[qQ\x03\x04]/.test(text)) end();
    const move = moves.find(([pattern]) => pattern.test(text));
    if (move === undefined) return;
    first += move[1] + move[2] * (rowsOf(stdout) - 1);
    moved.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  if (stdin.isTTY) stdin.setRawMode(true).on('data', onKey);
  stdout.write(enterPage);
  try {
    while (!ended.signal.aborted) {
      moved = new AbortController();
      const lines = await render();
      const room = rowsOf(stdout) - 1;
      first = Math.max(0, Math.min(first, lines.length - room));
      const isWhole = lines.length <= room;
      const foot = isWhole
        ? 'q ends'
        : `q ends, arrows and page keys scroll (line ${first + 1} of ${lines.length})`;
      const page = [...lines.slice(first, first + room), foot].map((line) =>
        line.slice(0, stdout.columns || 80),
      );
      stdout.write(`${home}${page.join(`${clearToLineEnd}\n`)}${clearToLineEnd}${clearBelow}`);
      const signal = AbortSignal.any([ended.signal, moved.signal]);
      await sleep(refreshMs, undefined, { signal }).catch(ignoreAbort);
    }
  } finally {
    stdout.write(leavePage);
    if (stdin.isTTY) stdin.setRawMode(false).off('data', onKey).pause();
  }
}

/** A terminal that does not know its size says 0. */
function rowsOf({ rows }: NodeJS.WriteStream): number {
  return rows || 24;
}

/** The wait was cut short because the reader has seen enough, or wants to see more. */
function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
}
