/**
 * kill -9 at any instant: every file whose close(2) returned 0 is whole in S3, and the next start
 * removes what the killed process left.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { sendSignal } from '../../lib/demo/child.js';
import { mountForTest } from '../support/mounted.js';
import { makeDirectory, makePlace } from '../support/place.js';
import type { TestServer } from '../support/servers.js';

const writer = fileURLToPath(new URL('../support/write-load.js', import.meta.url));

interface Claims {
  /** what close(2) said is stored */
  readonly stored: Map<string, string>;
  /** what was being written when the end came: it may be stored or not */
  readonly begun: Map<string, string>;
}

/** Runs the writer until `stop` resolves, then waits for its end. */
async function writeUntil(root: string, seed: number, stop: () => Promise<void>): Promise<Claims> {
  const child = spawn(process.execPath, [writer, root, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const claims: Claims = { stored: new Map(), begun: new Map() };
  const lines = createInterface(child.stdout);
  lines.on('line', (line) => {
    const [what = '', name = '', hash = ''] = line.split(' ');
    if (what === 'begin') {
      claims.begun.set(name, hash);
    } else {
      claims.stored.set(name, hash);
      claims.begun.delete(name);
    }
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await stop();
  await ended;
  return claims;
}

/** Kills a mount under load, so many times. @param rounds.home whose home it is that is written to */
export async function killRounds(
  t: Test,
  server: TestServer,
  { kills, seed, home }: { kills: number; seed: number; home?: string },
): Promise<void> {
  t.setTimeout(60_000 + kills * 30_000);
  const place = await makePlace(t);
  const mountPoint = await makeDirectory(place, 'mnt');
  const options = home === undefined ? [] : ['--homes'];
  const wanted = {
    server,
    place,
    mountPoint,
    driver: 'kernel',
    prefix: 'killed/',
    options,
  } as const;
  const root = join(mountPoint, home ?? '');
  const prefix = home === undefined ? 'killed/' : `killed/${home}/`;
  const known = new Map<string, string>();
  for (let run = 0; run < kills; run++) {
    const mounted = await mountForTest(t, wanted);
    const delayMs = 200 + ((seed * 7919 + run * 104_729) % 1500);
    const claims = await writeUntil(root, seed + run, async () => {
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      sendSignal(mounted.child.pid, 'SIGKILL');
    });
    for (const [name, hash] of claims.stored) known.set(name, hash);
    for (const [name, hash] of known) {
      const got = createHash('sha256')
        .update(await server.bucket.bytes(`${prefix}${name}`))
        .digest('hex');
      const may = [hash, claims.begun.get(name)];
      t.ok(may.includes(got), `kill ${run}: ${name} is what close(2) said it is`);
      known.set(name, got);
    }
  }
  const last = await mountForTest(t, wanted);
  // Aborting goes on beside the first requests.
  for (let tries = 0; tries < 50 && (await server.bucket.uploads()).length > 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // An upload whose id was on its way when the process died is known to nobody; all others are gone.
  const left = await server.bucket.uploads();
  t.ok(left.length <= kills, `the next start aborted what was recorded (${left.length} left)`);
  const owned = await readdir(last.tempDirectory, { recursive: true });
  t.same(
    owned.filter((name) => name.includes('staged-')),
    [],
    'no temp file is left',
  );
  await last.stop();
}
