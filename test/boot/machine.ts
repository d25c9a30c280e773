/** The machine that scripts/boot-machine makes, with an S3 service and a user that setup made. */
import { mkdtemp, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { mustRun, runCommand, type Ending } from '../../lib/demo/child.js';

const script = fileURLToPath(new URL('../../../scripts/boot-machine', import.meta.url));
export const secret = 'c2VjcmV0LW9mLXRoZS10ZXN0';
export const exportedKeys = ['AWS_ACCESS_KEY_ID=test', `AWS_SECRET_ACCESS_KEY=${secret}`];
export const endpoint = 'endpoint-url=http://127.0.0.1:9000,region=us-east-1';

const endpointProgram = `
const program = '/usr/local/lib/node_modules/s3jail/dist/lib/endpoint/standalone.js';
const { runStandalone } = await import(program);
const args = ['--directory', '/var/lib/s3', '--port', '9000', '--bucket', 'bucket'];
process.exitCode = await runStandalone(args, process.env);
`;

/** Before the mounts, so that at shutdown it ends after them. */
const endpointUnit = `
[Unit]
Before=s3jail@alice.service remote-fs-pre.target
[Service]
Environment=AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=${secret}
ExecStart=${process.execPath} /usr/local/lib/endpoint.mjs
ExecStartPost=/bin/bash -c 'until exec 3<>/dev/tcp/127.0.0.1/9000; do sleep 0.1; done 2>/dev/null'
[Install]
WantedBy=multi-user.target
`;

const keys = `[default]\naws_access_key_id=test\naws_secret_access_key=${secret}\n`;

export class Machine {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Made, booted, and gone with the test. */
  static async boot(t: Test): Promise<Machine> {
    const parent = await mkdtemp('/var/tmp/s3jail-boot-');
    const directory = join(parent, 'machine');
    t.teardown(async () => {
      await mustRun(script, ['remove', directory]);
      await rmdir(parent);
    });
    const machine = new Machine(directory);
    await mustRun(script, ['make', directory]);
    await machine.write('/usr/local/lib/endpoint.mjs', endpointProgram);
    await machine.write('/etc/systemd/system/s3.service', endpointUnit);
    await machine.start();
    await machine.must('mkdir', '-p', '/var/lib/s3', '/etc/credstore', '/root/.ssh');
    await machine.must('systemctl', 'enable', '--now', 's3.service');
    const makeKey = 'ssh-keygen -q -t ed25519 -N "" -f /root/key && ssh-keygen -A';
    await machine.must('sh', '-c', `umask 077; rm -f /root/key*; ${makeKey}`);
    await machine.must(
      'sh',
      '-c',
      'echo "* $(cat /etc/ssh/ssh_host_ed25519_key.pub)" > /root/known',
    );
    return machine;
  }

  async start(): Promise<void> {
    await mustRun(script, ['start', this.#directory]);
  }

  /** Shuts it down as poweroff does. */
  async stop(): Promise<void> {
    await mustRun(script, ['stop', this.#directory]);
  }

  async reboot(): Promise<void> {
    await this.stop();
    await this.start();
  }

  run(...command: string[]): Promise<Ending> {
    return runCommand(script, ['run', this.#directory, ...command]);
  }

  /** What a command prints that has to succeed. */
  async must(...command: string[]): Promise<string> {
    return (await mustRun(script, ['run', this.#directory, ...command])).stdout.trim();
  }

  async until(isSo: () => Promise<boolean>): Promise<void> {
    while (!(await isSo())) await sleep(100);
  }

  /** A file of the machine, for root alone. */
  async write(path: string, content: string): Promise<void> {
    await writeFile(join(this.#directory, 'root', path), content, { mode: 0o600 });
  }

  async read(path: string): Promise<string> {
    return readFile(join(this.#directory, 'root', path), 'utf8');
  }

  /** A property of a unit, as systemctl(1) shows it. */
  property(unit: string, name: string): Promise<string> {
    return this.must('systemctl', 'show', unit, '--value', '--property', name);
  }

  /** The user's mount, with keys that reach it as a credential of the unit. */
  async setUp(user: string, ...more: string[]): Promise<Ending> {
    await this.write(`/etc/credstore/s3jail.${user}`, keys);
    const options = `${endpoint},metadata-ttl=0`;
    const args = [user, `s3://bucket/${user}/`, '--authorized-keys', '/root/key.pub'];
    return this.run('s3jail', 'setup', ...args, '-o', options, ...more);
  }

  /** Runs sftp(1) inside, in root's home; the first line that fails ends it. */
  sftp(user: string, ...lines: string[]): Promise<Ending> {
    return this.run(...sftpCommand(user, lines));
  }

  /** An upload of /root/large that takes its time: the service upload, which goes on by itself. */
  async startUpload(user: string): Promise<void> {
    // 100 KiB a second.
    const command = sftpCommand(user, ['put large'], '-l', '800');
    await this.must('systemd-run', '--quiet', '--collect', '--unit=upload', ...command);
    await this.until(async () => {
      const isGoing = (await this.property('upload.service', 'ActiveState')) === 'active';
      if (!isGoing) throw new Error('the upload has ended');
      return (await this.list(user)).includes('large');
    });
  }

  /** As if its machine had lost power. */
  async killUpload(): Promise<void> {
    await this.run('systemctl', 'kill', '--signal=KILL', 'upload.service');
    await this.until(
      async () => (await this.property('upload.service', 'ActiveState')) === 'inactive',
    );
  }

  /** What the user sees. */
  async list(user: string): Promise<string[]> {
    const lines = (await this.sftp(user, 'ls -1')).stdout.split('\n');
    return lines.filter((line) => line !== '' && !line.startsWith('sftp>'));
  }
}

function sftpCommand(user: string, lines: readonly string[], ...more: string[]): string[] {
  const options = ['-F', 'none', '-i', '/root/key', '-o', 'UserKnownHostsFile=/root/known'];
  const command = ['sftp', ...options, '-b', '-', ...more, `${user}@127.0.0.1`];
  const script = 'cd /root; text=$1; shift; printf "%s\\n" "$text" | exec "$@"';
  return ['sh', '-c', script, 'sh', lines.join('\n'), ...command];
}
