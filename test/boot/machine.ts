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
Wants=remote-fs-pre.target
Before=network-online.target remote-fs-pre.target
[Service]
Environment=AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=${secret}
ExecStart=${process.execPath} /usr/local/lib/endpoint.mjs
ExecStartPost=/bin/bash -c 'until exec 3<>/dev/tcp/127.0.0.1/9000; do sleep 0.1; done 2>/dev/null'
[Install]
WantedBy=multi-user.target
`;

/** What two looks at the machine are compared by. */
const everything = `
  find /etc /srv /usr/sbin /run /var/log -xdev -not -path /run/s3jail -not -path "/run/systemd/*" -not -path "/run/log/*" \
    \\( -name "*s3jail*" -o -name "*alice*" -o -name "*bob*" -o -name "user[0-9]*" -o -name "line[0-9]*" \
    -o -name authorized_keys \\) -print | sort
  cat /etc/passwd /etc/fstab /etc/updatedb.conf
  find /run/systemd/system /etc/systemd/system -print | sort
  systemctl list-units --all --no-legend "s3jail*" "srv-*"
  systemctl --failed --no-legend
  grep -o "\\S*s3jail\\S*" /proc/self/mounts || true
`;

export const keys = `[default]\naws_access_key_id=test\naws_secret_access_key=${secret}\n`;

export class Machine {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Made, booted, and gone with the test.
   * @param options.hasProgram its commands are those of npm; else what npm installed serves S3 alone
   */
  static async boot(t: Test, { hasProgram = true } = {}): Promise<Machine> {
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
    const commands = ['s3jail', 'mount.s3jail'].map((name) => `/usr/local/bin/${name}`);
    if (!hasProgram) await machine.must('rm', ...commands);
    await machine.must('rm', '-rf', '/var/log/s3jail');
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

  /** Where a file of the machine is from outside of it. */
  path(path: string): string {
    return join(this.#directory, 'root', path);
  }

  /** A file of the machine, for root alone. */
  async write(path: string, content: string): Promise<void> {
    await writeFile(this.path(path), content, { mode: 0o600 });
  }

  async read(path: string): Promise<string> {
    return readFile(this.path(path), 'utf8');
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

  /** All that setup makes, as text that two looks can be compared by. */
  look(): Promise<string> {
    return this.must('sh', '-c', everything);
  }

  /**
   * A session that stores key.pub as `before`, idles until `endSession`, and goes on with `lines`: the
   * service session. Comes back when it idles.
   */
  async startSession(user: string, lines: readonly string[]): Promise<void> {
    const wait = '!until [ -e /root/session-goes-on ]; do sleep 0.2; done';
    const command = sftpCommand(user, [
      'put key.pub before',
      '!touch /root/session-idles',
      wait,
      ...lines,
    ]);
    const said = ['Output', 'Error'].map(
      (name) => `--property=Standard${name}=file:/root/session-said`,
    );
    const unit = ['--quiet', '--unit=session', '--property=RemainAfterExit=yes', ...said];
    await this.must('systemd-run', ...unit, ...command);
    await this.until(async () => {
      if ((await this.property('session.service', 'SubState')) !== 'running') {
        throw new Error(`the session has ended: ${await this.read('/root/session-said')}`);
      }
      return (await this.run('test', '-e', '/root/session-idles')).status === 0;
    });
  }

  /** Lets the session go on to its end. @returns its exit status, and what it said */
  async endSession(): Promise<{ status: string; said: string }> {
    const unit = 'session.service';
    await this.must('touch', '/root/session-goes-on');
    await this.until(async () => (await this.property(unit, 'SubState')) !== 'running');
    const status = await this.property(unit, 'ExecMainStatus');
    const said = await this.read('/root/session-said');
    await this.run('systemctl', 'stop', unit);
    await this.run('systemctl', 'reset-failed', unit);
    await this.must('rm', '/root/session-goes-on', '/root/session-idles', '/root/session-said');
    return { status, said };
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
    await this.uploadEnds();
  }

  async uploadEnds(): Promise<void> {
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
