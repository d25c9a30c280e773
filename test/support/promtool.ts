/** promtool(1) of Prometheus, which scripts/setup fetches: what it says is what Prometheus would take. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import type { Test } from 'tap';

const top = join(import.meta.dirname, '../../..');

const promtool = [...(process.env['PATH'] ?? '').split(':'), join(top, '.tools')]
  .map((directory) => join(directory, 'promtool'))
  .find((path) => existsSync(path));

/** @param what it is to find nothing wrong with, in words */
export function checkByPromtool(t: Test, what: string, args: readonly string[], input = ''): void {
  if (promtool === undefined) {
    t.pass(`promtool takes ${what}: not run, promtool is not installed`, { skip: 'no promtool' });
    return;
  }
  const { status, stdout, stderr } = spawnSync(promtool, args, { input, encoding: 'utf8' });
  t.equal(status, 0, `promtool takes ${what}: ${stdout}${stderr}`);
}
