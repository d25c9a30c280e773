/** `s3jail setup` as an operator calls it, on this machine, which is as before when the test ends. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { mustRun, runCommand, type Ending } from '../../lib/demo/child.js';
import { useMachine } from './machine.js';
import { makePlace } from './place.js';
import { useServer, type TestServer } from './servers.js';

export const program = fileURLToPath(new URL('../../bin/s3jail.cjs', import.meta.url));

/** Two users' names, and a place for mount points; all gone with the test. */
export async function stage(t: Test): Promise<{ place: string; users: readonly [string, string] }> {
  await useMachine(t);
  const place = await makePlace(t);
  const { '/etc/fstab': fstab = '' } = await readSystem();
  // Whatever setup itself gets wrong: the machine's own table is as it was.
  t.teardown(async () => {
    if ((await readSystem())['/etc/fstab'] !== fstab) await writeFile('/etc/fstab', fstab);
  });
  const id = randomBytes(3).toString('hex');
  const users = [`s3jail-a${id}`, `s3jail-b${id}`] as const;
  for (const user of users) t.teardown(() => remove(user, join(place, user)));
  return { place, users };
}

/** The same with a bucket to mount, and a key pair to log in with; nothing of it outside of `place`. */
export async function stageWithBucket(t: Test) {
  const staged = await stage(t);
  const { place } = staged;
  const before = await readSystem();
  const server = await useServer(t, 'embedded');
  const keyFile = join(place, 'key');
  await mustRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyFile]);
  const temp = join(place, 'temp');
  await mkdir(temp);
  const options = `endpoint-url=${server.url},region=us-east-1,temp-dir=${temp},log-file=${place}/log`;
  return { ...staged, before, server, keyFile, options };
}

export function remove(user: string, mountPoint: string): Promise<Ending> {
  return setup([user, '--remove', '--mount-point', mountPoint]);
}

export function setup(args: readonly string[], server?: TestServer): Promise<Ending> {
  return runCommand(process.execPath, [program, 'setup', ...args], { env: environment(server) });
}

export function environment(server?: TestServer): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(AWS|S3JAIL)_/.test(name));
  return {
    ...Object.fromEntries(inherited),
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_ACCESS_KEY_ID: server?.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server?.credentials.secretAccessKey,
  };
}

/** What setup changes, without the users that tests running beside this one come and go with. */
export async function readSystem(): Promise<Record<string, string>> {
  const files = ['/etc/passwd', '/etc/group', '/etc/fstab'];
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  return Object.fromEntries(
    files.map((file, index) => [
      file,
      (texts[index] ?? '').replace(/^s3jail-(test|demo).*\n/gm, ''),
    ]),
  );
}

/** Files and directories whose names tell that setup made them, and mounts of trials. */
export async function leftovers(user: string): Promise<string[]> {
  const places = ['/etc', '/srv', '/usr/sbin', '/var/log', '/run'];
  const names = [
    '-name',
    '*s3jail-trial-*',
    '-o',
    '-name',
    `*${user}*`,
    '-o',
    '-name',
    'mount*.s3jail',
  ];
  const { stdout } = await runCommand('find', [...places, '-xdev', '(', ...names, ')', '-print']);
  const mounts =
    (await readFile('/proc/self/mountinfo', 'utf8')).match(/\S*s3jail-trial\S*/g) ?? [];
  return [...stdout.split('\n').sort(), ...mounts];
}
