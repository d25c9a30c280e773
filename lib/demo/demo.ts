/**
 * `s3jail demo`: an S3 endpoint, a mount, a user and a chrooted sshd, all on this machine, and all
 * gone when it ends. Either stays up for an sftp client to be tried by hand, or runs one sftp batch.
 *
 * Everything lies in one directory under /var/lib: on disk, and with no parent that others can
 * write to, which sshd demands of a ChrootDirectory. It is called as the user, so that what a killed
 * demo left behind is found and cleared by the next one.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, rm, rmdir } from 'node:fs/promises';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { makeAccount, type Account } from './account.js';
import { Child } from './child.js';
import { detachMounts, startMount } from './mount-process.js';
import { clientOptions, missingSshPrograms, startSshd, type Sshd } from './sshd.js';
import { TakeDown } from './take-down.js';
import { startEndpoint } from '../endpoint/endpoint.js';
import { systemErrorCode } from '../errors.js';
import { Failure, messageOf } from '../host/failure.js';
import { StopSignals } from '../mount/stop-signals.js';

export interface DemoOptions {
  /** sftp batch file to run, relative to the working directory; `-` for standard input */
  readonly script?: string | undefined;
}

const bucket = 'demo';

/** What stands once the set-up is done. */
interface Stage {
  readonly account: Account;
  readonly sshd: Sshd;
  readonly endpoint: { readonly url: string };
  readonly credentials: Credentials;
  readonly directory: string;
}

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/**
 * @returns exit status: sftp's for a script, 0 after an interactive demo was stopped
 * @throws Failure with exit code 2 for what is missing or could not be set up
 */
export async function runDemo({ script }: DemoOptions): Promise<number> {
  requireParts(script);
  const stop = listenForStop();
  const takeDown = new TakeDown();
  try {
    const stage = await setUp(takeDown, stop.signal);
    if (script !== undefined) return await runScript(stage, script, stop);
    await stayUp(stage, stop);
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return stop.status();
    throw new Failure(2, `demo: ${messageOf(error)}`, { cause: error });
  } finally {
    tell('Taking everything down ...');
    for (const failure of await takeDown.run()) tell(failure);
    stop.close();
  }
}

/** Ctrl-C and its like, as what the set-up and its waiting can be told. */
interface StopRequest {
  readonly signal: AbortSignal;
  readonly come: Promise<unknown>;
  /** exit status that tells of it, as a shell has it */
  status(): number;
  close(): void;
}

function listenForStop(): StopRequest {
  const signals = new StopSignals();
  const controller = new AbortController();
  let name: string | undefined;
  const come = signals.first.then((reason) => {
    name = reason;
    controller.abort(new Error(`stopped by ${reason}`));
  });
  const numbers: Readonly<Record<string, number>> = constants.signals;
  return {
    signal: controller.signal,
    come,
    status: () => 128 + (numbers[name ?? ''] ?? 0),
    close: () => signals.close(),
  };
}

/** All that is missing at once, before anything is made. */
function requireParts(script: string | undefined): void {
  const faults: string[] = [];
  if (process.getuid?.() !== 0) {
    faults.push('it makes a mount, a user and a chrooted sshd, so it has to be run by root (sudo)');
  }
  if (!existsSync('/dev/fuse')) {
    faults.push('there is no /dev/fuse: load the module fuse, or give the container that device');
  }
  const programs = missingSshPrograms();
  if (programs.length > 0) {
    faults.push(`${programs.join(', ')} missing: apt-get install openssh-server openssh-client`);
  }
  if (script !== undefined && script !== '-' && !existsSync(script)) {
    faults.push(`there is no sftp batch ${resolve(script)}`);
  }
  if (faults.length > 0) throw new Failure(2, `demo: ${faults.join('; ')}`);
}

async function setUp(takeDown: TakeDown, signal: AbortSignal): Promise<Stage> {
  const account = await makeAccount('s3jail-demo');
  takeDown.add(`remove the user ${account.name}`, () => account.remove());
  const directory = join('/var/lib', account.name);
  const places = await makePlaces(directory, takeDown);
  signal.throwIfAborted();

  const credentials = {
    accessKeyId: 's3jail-demo',
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  const endpoint = await startEndpoint({
    directory: places.objects,
    credentials: [credentials],
    buckets: [bucket],
  });
  takeDown.add('stop the S3 endpoint', () => endpoint.close());
  tell(`S3 endpoint at ${endpoint.url}, bucket ${bucket}`);

  const mount = await startMount(
    {
      source: `s3://${bucket}/`,
      mountPoint: places.mountPoint,
      endpointUrl: endpoint.url,
      credentials,
      options: [
        ...['--uid', account.name, '--gid', String(account.gid)],
        ...['--temp-dir', places.temp, '--log-level', 'error'],
      ],
      output: 'inherit',
    },
    signal,
  );
  takeDown.add(`unmount ${places.mountPoint}`, () => mount.stop());
  tell(`s3://${bucket}/ mounted on ${places.mountPoint}`);

  const sshd = await startSshd(
    {
      directory: places.ssh,
      user: account.name,
      chrootDirectory: places.mountPoint,
      server: 'internal',
    },
    signal,
  );
  takeDown.add('stop sshd', () => sshd.stop());
  await handToCaller(sshd);
  tell(`sshd on port ${sshd.port}, user ${account.name}, chrooted to the mount`);
  return { account, sshd, endpoint, credentials, directory };
}

async function makePlaces(
  directory: string,
  takeDown: TakeDown,
): Promise<{ objects: string; mountPoint: string; temp: string; ssh: string }> {
  await removePlaces(directory);
  takeDown.add(`remove ${directory}`, () => removePlaces(directory));
  const places = {
    objects: join(directory, 'objects'),
    mountPoint: join(directory, 'mnt'),
    temp: join(directory, 'temp'),
    ssh: join(directory, 'ssh'),
  };
  await mkdir(directory, { mode: 0o755 });
  await mkdir(places.objects, { mode: 0o700 });
  await mkdir(places.temp, { mode: 0o700 });
  await mkdir(places.mountPoint, { mode: 0o755 });
  await mkdir(places.ssh, { mode: 0o755 });
  return places;
}

/** Nothing is deleted through a mount: the mount point itself goes first, which fails while in use. */
async function removePlaces(directory: string): Promise<void> {
  await detachMounts(directory);
  try {
    await rmdir(join(directory, 'mnt'));
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
  }
  await rm(directory, { recursive: true, force: true });
}

/** A caller by sudo types the sftp line without it, so the private key has to belong to that user. */
async function handToCaller(sshd: Sshd): Promise<void> {
  const uid = Number(process.env['SUDO_UID'] ?? 0);
  if (uid > 0) await chown(sshd.identityFile, uid, -1);
}

async function stayUp(stage: Stage, stop: StopRequest): Promise<void> {
  const { endpoint, credentials, directory } = stage;
  const line = ['sftp', ...sftpArguments(stage)].join(' ');
  process.stdout.write(
    [
      '',
      'SFTP over S3 is up. In another terminal:',
      '',
      `  ${line}`,
      '',
      `The S3 side: ${endpoint.url}, bucket ${bucket}, kept in ${directory}/objects`,
      `  AWS_ACCESS_KEY_ID=${credentials.accessKeyId} AWS_SECRET_ACCESS_KEY=${credentials.secretAccessKey} \\`,
      `  aws --endpoint-url ${endpoint.url} --region us-east-1 s3 ls --recursive s3://${bucket}/`,
      '',
      'Ctrl-C stops it and removes all of it.',
      '',
    ].join('\n'),
  );
  await stop.come;
}

async function runScript(stage: Stage, script: string, stop: StopRequest): Promise<number> {
  const sftp = await Child.start('sftp', ['-b', script, ...sftpArguments(stage)], {
    output: 'inherit',
    ...(script === '-' ? { input: 'inherit' } : {}),
  });
  const end = (): void => void sftp.stop();
  stop.signal.addEventListener('abort', end, { once: true });
  const { status } = await sftp.ended;
  return stop.signal.aborted ? stop.status() : status;
}

function sftpArguments({ sshd, account }: Stage): string[] {
  return ['-P', String(sshd.port), ...clientOptions(sshd), `${account.name}@127.0.0.1`];
}

/** Progress; stdout belongs to the sftp line, or to sftp. */
function tell(text: string): void {
  process.stderr.write(`s3jail: ${text}\n`);
}
