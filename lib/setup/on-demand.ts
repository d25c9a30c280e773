/**
 * A mount that is made when somebody looks, and gone when nobody does: an automount of systemd. What it
 * starts is a `.mount` unit, which has no watchdog and no restart; and a process outside of systemd's own
 * group cannot mount on the place that is waited for (autofs, "oz mode"). So the service mounts beside it, in
 * the same directory, and the `.mount` unit binds that to the place: it needs the service, which starts
 * with its sandbox and its keys, and ends when no `.mount` needs it any more.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  fileStep,
  isSystemdRunning,
  mustRun,
  outputOf,
  perform,
  readIfThere,
  removalStep,
  succeeds,
  type RunMode,
} from './steps.js';

/** Units of this machine's administrator (systemd.unit(5)). */
export const units = '/etc/systemd/system';
const usualIdleTime = '10min';

/** Where the service mounts: beside the place, so that the same directories close it to others. */
export function placeBeside(mountPoint: string): string {
  return join(dirname(mountPoint), `.${basename(mountPoint)}.s3jail`);
}

export function dropInPath(name: string): string {
  return join(units, `s3jail@${name}.service.d`, 'on-demand.conf');
}

export function isOnDemand(name: string): boolean {
  return existsSync(dropInPath(name));
}

/** The service ends with the last mount unit that needs it. */
export const dropInText = `# Made by s3jail setup --on-demand.
[Unit]
StopWhenUnneeded=yes
`;

/** Names of the two units for a place (systemd.unit(5), "String Escaping for Inclusion in Unit Names"). */
async function unitsOf(mountPoint: string): Promise<{ automount: string; mount: string }> {
  const escaped = (await outputOf('systemd-escape', ['--path', mountPoint])).trim();
  return { automount: `${escaped}.automount`, mount: `${escaped}.mount` };
}

function automountText(mountPoint: string, idleTime: string): string {
  return `# Made by s3jail setup --on-demand.
[Unit]
Description=S3 mount on ${mountPoint}, when somebody looks
StartLimitIntervalSec=0
Before=ssh.service sshd.service

[Automount]
Where=${mountPoint}
DirectoryMode=0755
TimeoutIdleSec=${idleTime}

[Install]
WantedBy=multi-user.target
`;
}

/** LazyUnmount: sessions would keep what a killed process left, and nobody could mount anew. */
function mountText(name: string, mountPoint: string): string {
  return `# Made by s3jail setup --on-demand.
[Unit]
Description=S3 mount of ${name} on ${mountPoint}
StartLimitIntervalSec=0
DefaultDependencies=no
BindsTo=s3jail@${name}.service
After=s3jail@${name}.service
Before=ssh.service sshd.service umount.target
Conflicts=umount.target

[Mount]
What=${placeBeside(mountPoint)}
Where=${mountPoint}
Type=none
Options=bind,nosuid,nodev
LazyUnmount=yes
`;
}

/**
 * Both units; of those that are there, the idle time alone is changed, if another is asked for.
 * @returns the automount, and whether a unit was changed
 */
export async function writeOnDemand(
  place: { name: string; mountPoint: string; idleTime: string | undefined },
  runMode: RunMode,
): Promise<{ automount: string; isChanged: boolean }> {
  const { name, mountPoint, idleTime } = place;
  const { automount, mount } = await unitsOf(mountPoint);
  const automountPath = join(units, automount);
  const present =
    (await readIfThere(automountPath)) ?? automountText(mountPoint, idleTime ?? usualIdleTime);
  const files: [path: string, content: string][] = [
    [
      automountPath,
      idleTime === undefined
        ? present
        : present.replace(/^TimeoutIdleSec=.*$/m, `TimeoutIdleSec=${idleTime}`),
    ],
    [join(units, mount), (await readIfThere(join(units, mount))) ?? mountText(name, mountPoint)],
  ];
  let isChanged = false;
  for (const [path, content] of files) {
    const step = fileStep(`write ${path}`, { path, content, mode: 0o644 });
    if (await perform(step, runMode)) isChanged = true;
  }
  return { automount, isChanged };
}

export async function removeOnDemand(mountPoint: string, runMode: RunMode): Promise<void> {
  const { automount, mount } = await unitsOf(mountPoint);
  const link = join(units, 'multi-user.target.wants', automount);
  const now = isSystemdRunning() ? ['--now'] : [];
  await perform(
    {
      what: `stop and disable ${automount}`,
      isDone: async () => !(await succeeds('test', ['-L', link])),
      run: async () => {
        await mustRun('systemctl', ['disable', ...now, automount]);
        if (isSystemdRunning()) await mustRun('systemctl', ['stop', mount]);
      },
    },
    runMode,
  );
  await perform(removalStep(join(units, automount)), runMode);
  await perform(removalStep(join(units, mount)), runMode);
}
