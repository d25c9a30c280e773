/** Times of files on a whole mount: as users gave them with `--utimens store`, to the nanosecond. */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CopyObjectCommand } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { mountForTest, type Mounted } from '../support/mounted.js';
import { makePlace } from '../support/place.js';
import { serverNames, useServer, type TestServer } from '../support/servers.js';

interface Scene {
  readonly server: TestServer;
  readonly mount: (options?: readonly string[]) => Promise<Mounted>;
}

/** A mount that asks S3 each time, and another in its place. */
async function useTimes(t: Test, name: TestServer['name']): Promise<Scene> {
  const server = await useServer(t, name);
  const place = await makePlace(t);
  let mounted: Mounted | undefined;
  return {
    server,
    mount: async (options = ['--metadata-ttl', '0']) => {
      await mounted?.stop();
      const all = ['--utimens', 'store', ...options];
      mounted = await mountForTest(t, { server, driver: 'kernel', place, options: all });
      return mounted;
    },
  };
}

async function shell(mounted: Mounted, script: string): Promise<string> {
  const run = promisify(execFile);
  return (await run('sh', ['-c', script], { cwd: mounted.mountPoint })).stdout;
}

async function timeOf(mounted: Mounted, name: string): Promise<bigint> {
  return (await stat(join(mounted.mountPoint, name), { bigint: true })).mtimeNs;
}

const times: readonly (readonly [given: string, time: bigint])[] = [
  ['1234567890.123456789', 1_234_567_890_123_456_789n],
  ['1700000000.000000001', 1_700_000_000_000_000_001n],
  ['0', 0n],
  ['-1', -1_000_000_000n],
  ['-1.5', -1_500_000_000n],
  ['-2000000000.000000001', -2_000_000_000_000_000_001n],
  ['5000000000', 5_000_000_000_000_000_000n],
];

for (const name of serverNames()) {
  void t.test(`on ${name}`, { timeout: 300_000 }, async (t) => {
    const { server, mount } = await useTimes(t, name);

    await t.test('what is given is shown, now and by the next mount', async (t) => {
      let mounted = await mount();
      for (const [index, [given]] of times.entries()) {
        // A file of its own, and one that is still being written.
        await shell(mounted, `echo x > f${index}; touch -d @${given} f${index}`);
        await shell(mounted, `{ echo x; touch -d @${given} o${index}; } > o${index}`);
      }
      for (let round = 0; round < 2; round++) {
        for (const [index, [given, time]] of times.entries()) {
          t.equal(await timeOf(mounted, `f${index}`), time, given);
          t.equal(await timeOf(mounted, `o${index}`), time, `${given} while it was written`);
        }
        mounted = await mount();
      }
      const head = await server.bucket.head('f0');
      t.equal(head.Metadata?.['mtime'], '1234567890.123456789', 'in the form of rclone');
    });

    await t.test('what rclone and others stored is shown', async (t) => {
      const mounted = await mount();
      await server.bucket.put('theirs', 'x');
      const stored = await timeOf(mounted, 'theirs');
      for (const [mtime, time] of [
        ['1500000000.5', 1_500_000_000_500_000_000n],
        ['0', 0n],
        ['-1.25', -1_250_000_000n],
        ['yesterday', undefined],
      ] as const) {
        const at = { Bucket: server.bucket.name, Key: 'theirs' };
        const CopySource = `${at.Bucket}/${at.Key}`;
        const how = { MetadataDirective: 'REPLACE', Metadata: { mtime } } as const;
        await server.bucket.client.send(new CopyObjectCommand({ ...at, CopySource, ...how }));
        const shown = await timeOf(mounted, 'theirs');
        if (time === undefined) t.ok(shown >= stored, 'which is no time');
        else t.equal(shown, time, mtime);
      }
    });

    await t.test('the present can be set again', async (t) => {
      const mounted = await mount();
      await shell(mounted, 'echo x > f; touch -d @1000000000 f');
      t.equal(await timeOf(mounted, 'f'), 1_000_000_000_000_000_000n);
      const before = BigInt(Date.now() - 1000) * 1_000_000n;
      await shell(mounted, 'touch f');
      t.ok((await timeOf(mounted, 'f')) >= before);
      await shell(mounted, 'touch -d @1000000000 f; echo more >> f');
      t.ok((await timeOf(mounted, 'f')) >= before, 'a change is one of the present');
      await shell(mounted, 'touch -d @1000000000 f; touch -a -d @2000000000 f');
      t.equal(await timeOf(mounted, 'f'), 1_000_000_000_000_000_000n, 'an access changes nothing');
    });

    await t.test('of a file that is open and not changed', async (t) => {
      const mounted = await mount();
      await shell(
        mounted,
        'echo x > g; exec 3<> g; touch -d @1000000000.5 g; echo yz >&3; exec 3>&-',
      );
      t.equal(await shell(mounted, 'cat g'), 'yz\n');
      await shell(mounted, 'exec 3<> g; touch -d @1000000000.5 g');
      t.equal(await timeOf(mounted, 'g'), 1_000_000_000_500_000_000n);
    });
  });
}
