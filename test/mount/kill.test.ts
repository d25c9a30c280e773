/** kill -9 on the embedded endpoint. S3JAIL_KILLS says how often; scripts/soak-kill says 200. */
import t from 'tap';
import { killRounds } from '../suites/kill-rounds.js';
import { useServer } from '../support/servers.js';

const kills = Number(process.env['S3JAIL_KILLS'] ?? 6);
const seed = Number(process.env['S3JAIL_KILL_SEED'] ?? Date.now() % 1_000_000);

void t.test(`${kills} kills under load lose nothing (S3JAIL_KILL_SEED=${seed})`, async (t) => {
  await killRounds(t, await useServer(t, 'embedded'), { kills, seed });
});
