/** What `check` says of servers that nobody here wrote: their limits, and nothing that is not so. */
import {
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import t from 'tap';
import { planService } from '../../lib/options/mount-plan.js';
import { runCheck } from '../../lib/preflight/check.js';
import { deviationsOf } from '../suites/store-deviations.js';
import { setAwsEnvironment } from '../support/environment.js';
import { realServers, testOnServer, type TestServer } from '../support/servers.js';

t.setTimeout(300_000);

const ambient = { uid: 0, gid: 0, tmpdir: undefined, hasEndpointVariable: false };

/** The line about each item. */
async function check(server: TestServer, prefix: string): Promise<Map<string, string>> {
  const commandLine = [
    { name: 'endpoint-url', text: server.url },
    { name: 'force-path-style', text: undefined },
  ];
  const operands = [`s3://${server.bucket.name}/${prefix}`];
  const request = { operands, commandLine, lists: [], sloppy: false };
  const lines: string[] = [];
  await runCheck(planService('check', request, { environment: {}, ambient }), (line) =>
    lines.push(line),
  );
  return new Map(lines.map((line) => [/^....  ([^:]+):/.exec(line)?.[1] ?? '', line]));
}

for (const name of realServers) {
  void testOnServer(t, { server: name, name: `check on ${name}` }, async (t, server) => {
    setAwsEnvironment(t, {
      AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
      AWS_REGION: 'us-east-1',
    });
    const { conditions, nesting, lostNames } = deviationsOf(name);
    const lines = await check(server, 'alice/');
    const failed = [...lines.values()].filter((line) => line.startsWith('FAIL'));
    t.strictSame(failed, []);
    t.match(lines.get('part copy (append)'), /^ok {4}/);
    const areKept = Object.values(conditions).every(({ absent, etag }) => absent && etag);
    t.match(lines.get('conditional writes'), areKept ? /^ok {4}/ : /^warn .* not kept by/);
    const names = lines.get('names');
    if (nesting === 'hidden')
      t.match(names, /^warn .* hides all that is below the name of an object/);
    if (lostNames.includes('back\\slash'))
      t.match(names, /^warn .* a backslash is taken for a slash/);
    else if (nesting !== 'hidden') t.match(names, /^ok {4}/);
    t.match(lines.get('versions'), /^ok {4}.* keeps none/);
    t.strictSame(await server.bucket.keys(), [], 'nothing is left');
    t.strictSame(await server.bucket.uploads(), []);

    await t.test('an object of the name of the prefix', async (t) => {
      const { bucket } = server;
      await bucket.client.send(new PutObjectCommand({ Bucket: bucket.name, Key: 'up', Body: 'x' }));
      const found = (await check(server, 'up/alice/')).get('names');
      if (nesting === 'hidden')
        t.match(found, /^FAIL .*\/up is an object, .* mount would be empty/);
      else t.notMatch(found, /^FAIL/);
    });

    await t.test('a bucket that keeps versions', async (t) => {
      const { bucket } = server;
      const set = (Status: 'Enabled' | 'Suspended') =>
        bucket.client.send(
          new PutBucketVersioningCommand({
            ...{ Bucket: bucket.name, VersioningConfiguration: { Status } },
          }),
        );
      // What the others have, or say of it, is not ours to test.
      if (name !== 'minio') return;
      await set('Enabled');
      t.match((await check(server, 'kept/')).get('versions'), /^ok {4}.* keeps versions/);
      await set('Suspended');
      t.match((await check(server, 'kept/')).get('versions'), /^ok {4}.* keeps none/);
      // An object hides those below it here, from this listing too.
      for (let left = 1; left > 0;) {
        const here = { Bucket: bucket.name };
        const listed = await bucket.client.send(new ListObjectVersionsCommand(here));
        const found = [...(listed.Versions ?? []), ...(listed.DeleteMarkers ?? [])];
        for (const { Key, VersionId } of found) {
          await bucket.client.send(new DeleteObjectCommand({ ...here, Key, VersionId }));
        }
        left = found.length;
      }
    });
  });
}
