/** kill -9 on the embedded endpoint. S3JAIL_KILLS says how often; scripts/soak-kill says 200. */
import t from 'tap';
import { heldKillRounds } from '../suites/held-kill-rounds.js';
import { killRounds } from '../suites/kill-rounds.js';
import { realServers, useServer } from '../support/servers.js';

const kills = Number(process.env['S3JAIL_KILLS'] ?? 6);
const seed = Number(process.env['S3JAIL_KILL_SEED'] ?? Date.now() % 1_000_000);
const modes = { discard: killRounds, resume: heldKillRounds };
const mode = process.env['S3JAIL_KILL_MODE'];
const server = realServers.find((name) => name === process.env['S3JAIL_KILL_SERVER']);

for (const [name, rounds] of Object.entries(modes)) {
  if (mode !== undefined && mode !== name) continue;
  const title = `${kills} kills under load lose nothing, --interrupted ${name}`;
  void t.test(`${title} (S3JAIL_KILL_SEED=${seed})`, async (t) => {
    await rounds(t, await useServer(t, server ?? 'embedded'), { kills, seed });
  });
}
