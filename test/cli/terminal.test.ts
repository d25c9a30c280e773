/** What storing at the end of a mount looks like on a terminal, one that script(1) makes. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { findRecord } from '../../lib/host/runtime-record.js';
import { environment, Place, run, s3jail, Writer } from '../support/command.js';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.js';
import { until } from '../support/until.js';

t.setTimeout(600_000);

const bar = /\r\x1b\[K\[[#.]{30}\] {1,3}\d+% storing 1 file, 11B in 1 part left/;
/** The bar makes room for the prompt, or for lines that stay. */
const cleared = /left[^\n]*\r\x1b\[K(?!\[[#.])/;

/** A program on a terminal of its own. */
function onTerminal(t: Test, args: readonly string[]) {
  const words = [process.execPath, s3jail, ...args].map((word) => `'${word}'`);
  // A shell that stayed beside the program would take Ctrl-C too, and some end with 130 for it.
  const command = `exec ${words.join(' ')}`;
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], {
    env: environment({ TERM: 'xterm' }),
  });
  t.teardown(() => terminal.kill('SIGKILL'));
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  return {
    shown: () => shown,
    type: (keys: string) => terminal.stdin.write(keys),
    ended: new Promise<number | null>((done) => terminal.once('close', done)),
  };
}

/** Storing takes long enough to be looked at. */
async function slowProxy(t: Test, place: Place): Promise<FaultProxy> {
  const proxy = await startFaultProxy({ target: place.endpoint.url });
  t.teardown(() => proxy.close());
  proxy.inject({ action: 'PutObject', fault: { kind: 'latency', ms: 1500 } });
  return proxy;
}

void t.test('unmount draws how far storing has come', async (t) => {
  const place = await Place.make(t);
  const proxy = await slowProxy(t, place);
  await place.mount(t, '--endpoint-url', proxy.url);
  const writer = await Writer.start(t, place.path('\x1b[31m'), 'half a file');
  const terminal = onTerminal(t, ['unmount', place.mountPoint]);
  t.equal(await terminal.ended, 0, `its status; it showed ${JSON.stringify(terminal.shown())}`);
  t.match(terminal.shown(), bar);
  t.match(terminal.shown(), /\(\/\\u001/, 'a name does not steer the terminal');
  t.match(terminal.shown(), cleared);
  t.equal(place.endpoint.keys('bucket').length, 1);
  t.equal(await writer.close(), 'ENOTCONN', 'who had it open is cut off');
  place.checkGone(t);
});

void t.test('Ctrl-C ends a mount in the foreground, which draws likewise', async (t) => {
  const place = await Place.make(t);
  const proxy = await slowProxy(t, place);
  const options = ['--endpoint-url', proxy.url, '--temp-dir', join(place.base, 'temp')];
  const mount = ['mount', 's3://bucket/', place.mountPoint, '--foreground', ...options];
  const terminal = onTerminal(t, mount);
  await until(() => findRecord(place.mountPoint, undefined)?.read()?.phase === 'mounted');
  const writer = await Writer.start(t, place.path('open'), 'half a file');
  terminal.type('\x03');
  t.equal(await terminal.ended, 0, `its status; it showed ${JSON.stringify(terminal.shown())}`);
  t.match(terminal.shown(), bar);
  t.match(terminal.shown(), cleared);
  t.match(terminal.shown(), /everything is stored/);
  t.same(place.endpoint.keys('bucket'), ['open']);
  t.equal(await writer.close(), 'ENOTCONN', 'who had it open is cut off');
  t.match(await run(s3jail, ['unmount', place.mountPoint]), { status: 32 });
  place.checkGone(t);
});
