/** A page on a terminal that renews itself until its reader has seen enough. */
import { setTimeout as sleep } from 'node:timers/promises';

const refreshMs = 1000;
const enterPage = '\x1b[?1049h\x1b[?25l';
const leavePage = '\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const clearToLineEnd = '\x1b[K';
const clearBelow = '\x1b[J';

/** @param render the lines as of now; asked again each second until `q`, Ctrl-C or SIGTERM */
export async function showLive(render: () => Promise<readonly string[]>): Promise<void> {
  const { stdin, stdout } = process;
  const ended = new AbortController();
  const end = (): void => ended.abort();
  const onKey = (keys: Buffer): void => {
    if (/[qQ\x03\x04]/.test(keys.toString('latin1'))) end();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  if (stdin.isTTY) stdin.setRawMode(true).on('data', onKey);
  stdout.write(enterPage);
  try {
    while (!ended.signal.aborted) {
      const lines = [...(await render()), '', 'q ends'];
      // A terminal that does not know its size says 0.
      const { rows, columns } = { rows: stdout.rows || 24, columns: stdout.columns || 80 };
      const page = lines.slice(0, rows).map((line) => line.slice(0, columns));
      stdout.write(`${home}${page.join(`${clearToLineEnd}\n`)}${clearToLineEnd}${clearBelow}`);
      await sleep(refreshMs, undefined, { signal: ended.signal }).catch(ignoreAbort);
    }
  } finally {
    stdout.write(leavePage);
    if (stdin.isTTY) stdin.setRawMode(false).off('data', onKey).pause();
  }
}

/** The wait was cut short because the reader has seen enough. */
function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
}
