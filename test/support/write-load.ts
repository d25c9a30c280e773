/**
 * A program that writes files of all sizes, over and over, four at a time, and prints a line for each
 * one it begins and each one that close(2) returned 0 for: `begin NAME SHA256`, `stored NAME SHA256`.
 * It ends at the first failure. A program apart, so that nobody waits for a mount he is about to kill.
 *
 * usage: node write-load.js DIRECTORY SEED
 */
import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

const [, , directory = '.', seed = '0'] = process.argv;
const sizes = [0, 10, 5000, 300_000, 9_000_000, 20_000_000];
const lanes = 4;
const namesPerLane = 7;

async function writeLane(lane: number): Promise<void> {
  for (let number = Number(seed); ; number++) {
    const name = `f${lane}-${number % namesPerLane}`;
    const size = sizes[(number * 7 + lane * 3) % sizes.length] ?? 0;
    const body = Buffer.alloc(size, randomBytes(4096));
    const hash = createHash('sha256').update(body).digest('hex');
    console.log(`begin ${name} ${hash}`);
    await writeFile(join(directory, name), body);
    console.log(`stored ${name} ${hash}`);
  }
}

/** As sftp-server does it: in pieces, and the answer of close(2) counts. */
async function writeFile(path: string, body: Buffer): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let at = 0; at < body.length; at += 262_144) {
      await file.write(body, at, Math.min(262_144, body.length - at), at);
    }
  } finally {
    await file.close();
  }
}

// The mount is killed under it: that is what it is for.
await Promise.allSettled(Array.from({ length: lanes }, (_, lane) => writeLane(lane)));
