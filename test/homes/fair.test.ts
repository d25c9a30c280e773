/**
 * Four homes at full speed, each of whose requests is stopped half way, and a fifth: it finds memory,
 * temp space and requests left for all it does, and when the others may go on, none of them has failed.
 */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { Program, useCore } from '../support/core.js';
import { mebibyte } from '../support/sizes.js';
import { until } from '../support/until.js';

t.setTimeout(120_000);

const hogs = ['ann', 'ben', 'cid', 'dot'];
const ofHogs = /^users\/(ann|ben|cid|dot)\//;
const many = 40;

void t.test('homes at full speed leave room for another', async (t) => {
  const settings = {
    homes: true,
    partSize: mebibyte,
    memoryLimit: 24 * mebibyte,
    tempLimit: 128 * mebibyte,
    timeoutMs: 100_000,
  };
  const core = await useCore(t, {
    ...{ prefix: 'users/', minPart: mebibyte, settings },
    requestTimeoutMs: 100_000,
  });
  const { bucket, fs, proxy } = core;
  const program = new Program(fs);
  const large = randomBytes(2 * mebibyte);
  const small = large.subarray(0, 4096);
  for (const home of [...hogs, 'eve']) {
    for (const name of ['1', '2', '3', '4']) await bucket.put(`users/${home}/there/${name}`, large);
    await program.list(`/${home}/there`);
  }

  for (const action of ['PutObject', 'CreateMultipartUpload', 'GetObject'] as const) {
    proxy.inject({ action, key: ofHogs, count: Infinity, fault: { kind: 'no-answer' } });
  }
  const put = async (path: string, bytes: Buffer): Promise<void> => {
    const handle = await program.create(path);
    await program.write(handle, bytes);
    await program.close(handle);
  };
  const names = Array.from({ length: many }, (_, index) => String(index));
  const work = hogs.flatMap((home) => [
    ...names.map((name) => put(`/${home}/large-${name}`, large)),
    ...names.map((name) => put(`/${home}/small-${name}`, small)),
    ...['1', '2', '3', '4'].map(async (name) => {
      const got = await program.get(`/${home}/there/${name}`);
      t.ok(got.equals(large));
    }),
  ]);
  const inFlight = (home: string): number =>
    proxy.log.filter(({ key, status }) => key.startsWith(`users/${home}/`) && status === undefined)
      .length;
  await until(() => hogs.every((home) => inFlight(home) >= 8));
  t.same(await program.list('/eve/there'), ['1', '2', '3', '4']);
  await put('/eve/small', small);
  await put('/eve/large', large);
  t.equal((await program.stat('/eve/small')).size, 4096);
  t.ok((await program.get('/eve/there/1')).equals(large));
  t.ok((await program.get('/eve/large')).equals(large));
  t.equal(inFlight('eve'), 0);
  for (const home of hogs) {
    const count = inFlight(home);
    t.ok(count <= 128 / 2, `${home} has ${count} requests in flight`);
  }

  proxy.clear();
  await Promise.all(work);
  for (const home of [...hogs, 'eve']) {
    t.ok((await bucket.bytes(`users/${home}/large${home === 'eve' ? '' : '-0'}`)).equals(large));
  }
  t.equal(fs.status.tempBytes, 0);
  t.equal(fs.status.uploadMemory, 0);
});
