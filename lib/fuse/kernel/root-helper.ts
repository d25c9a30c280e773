/**
 * What stays root where the process of the mount gives that up (`--run-as`): a shell that can make and
 * end this one mount, and nothing else. Its script is fixed, what it acts on are its arguments, and all
 * it is told later is one word at a time. It lives as long as the pipe to it: where the process was
 * killed it takes away the dead mount.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { bareEnvironment } from '../../host/bare-environment.js';
import type { RootHelper } from '../driver.js';
import { abortScript } from '../../host/mount-programs.js';
import { mountType } from './mount-point.js';

/** How long a mount may take to answer: the other words wait meanwhile. */
const probeSeconds = 20;

/**
 * $1 mount point, $2 source, $3 options of mount(8), $4 the mount point as mountinfo writes it, $5 KiB of
 * read-ahead, $6 what ends a connection; descriptor 3 is /dev/fuse, of which no copy may outlive the
 * process of the mount.
 * Each word is answered with a line: exit status and what was said. The signals are those that a whole
 * process group gets, and what writing to a process that is gone brings.
 */
const script = `
trap '' HUP INT QUIT TERM PIPE
find_device() {
  while read -r _ _ device _ place _; do
    if [ "$place" = "$1" ]; then own=$device; fi
  done </proc/self/mountinfo
}
while read -r word; do
  case $word in
    mount) said=$(mount -i -n -t ${mountType} -o "$3" -- "$2" "$1" 2>&1 </dev/null) ;;
    read-ahead) said=$( (echo "$5" >"/sys/class/bdi/$own/read_ahead_kb") 2>&1) ;;
    unmount) said=$(umount -i -n -c -- "$1" 2>&1 </dev/null) ;;
    detach) said=$(umount -i -n -c -l -- "$1" 2>&1 </dev/null) ;;
    cut) said=$(umount -i -n -c -l -f -- "$1" 2>&1 </dev/null) ;;
    abort) said=$(unshare --mount sh -c "$6" sh "\${own#*:}" 2>&1 </dev/null) ;;
    probe) said=$(timeout -s KILL ${probeSeconds} stat -f -- "$1" 2>&1 </dev/null) ;;
    *) exit 1 ;;
  esac
  status=$?
  if [ "$word" = mount ]; then exec 3>&-; find_device "$4"; fi
  printf '%s %s\\n' "$status" "$(printf '%s' "$said" | tr '\\n' ' ')"
done
exec 3>&-
case $(stat -f -- "$1" 2>&1) in
  *'not connected' | *'connection abort') umount -i -n -c -l -- "$1" ;;
esac
`;

/** Of a child's pipes: whether this process waits for it. */
interface Pipe {
  ref(): unknown;
  unref(): unknown;
}

type Shell = ChildProcessByStdio<Writable & Pipe, Readable & Pipe, null>;

type Word = 'mount' | 'read-ahead' | 'probe' | 'unmount' | 'detach' | 'cut' | 'abort';

export interface RootHelperSettings {
  /** real path of a directory */
  readonly mountPoint: string;
  readonly source: string;
  /** of mount(8), for descriptor 3 */
  readonly options: string;
  readonly readAheadKib: number;
}

/** @throws Error (system error) where the device cannot be opened */
export function spawnRootHelper(devicePath: string, settings: RootHelperSettings): RootHelper {
  const device = openSync(devicePath, 'r+');
  const { mountPoint, source, options, readAheadKib } = settings;
  const args = [
    mountPoint,
    source,
    options,
    escaped(mountPoint),
    String(readAheadKib),
    abortScript,
  ];
  try {
    const child = spawn('/bin/sh', ['-c', script, 's3jail-root-helper', ...args], {
      cwd: '/',
      env: bareEnvironment,
      stdio: ['pipe', 'pipe', 'ignore', device],
    });
    return new ShellHelper(device, child as Shell);
  } catch (error) {
    closeSync(device);
    throw error;
  }
}

/** As the kernel writes a path in /proc/PID/mountinfo. */
function escaped(path: string): string {
  return path.replace(
    /[ \t\n\\]/g,
    (letter) => `\\${letter.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
}

class ShellHelper implements RootHelper {
  readonly device: number;
  readonly #child: Shell;
  #last: Promise<unknown> = Promise.resolve();
  #said = '';
  /** takes the next line, or hears that there is none */
  #answered: ((line: string | undefined) => void) | undefined;
  #hasEnded = false;

  constructor(device: number, child: Shell) {
    this.device = device;
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    child.on('close', () => this.#end());
    child.on('error', () => this.#end());
    // Whoever waits for an answer hears of it by the end of the process.
    child.stdin.on('error', () => undefined);
    // It ends with this process, and must not keep it.
    child.unref();
    for (const pipe of [child.stdin, child.stdout]) pipe.unref();
  }

  async mount(): Promise<void> {
    try {
      await this.#ask('mount');
    } catch (error) {
      throw new Error(`mount(8) failed: ${(error as Error).message}`, { cause: error });
    }
  }

  async raiseReadAhead(): Promise<boolean> {
    return await this.#ask('read-ahead').then(
      () => true,
      () => false,
    );
  }

  async probe(): Promise<void> {
    await this.#ask('probe');
  }

  async unmount({ lazy, cut = false }: { lazy: boolean; cut?: boolean }): Promise<void> {
    await this.#ask(cut ? 'cut' : lazy ? 'detach' : 'unmount');
  }

  async abort(): Promise<void> {
    await this.#ask('abort');
  }

  close(): void {
    this.#child.stdin.end();
  }

  /** One question after the other. @throws Error with what was said */
  #ask(word: Word): Promise<void> {
    const answer = this.#last.then(() => this.#askNow(word));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #askNow(word: Word): Promise<void> {
    const { stdin, stdout } = this.#child;
    const line = await new Promise<string | undefined>((done) => {
      if (this.#hasEnded) {
        done(undefined);
        return;
      }
      stdout.ref();
      this.#answered = done;
      stdin.write(`${word}\n`);
    });
    stdout.unref();
    const [, status, said = ''] = /^(\d+) (.*)$/.exec(line ?? '') ?? [];
    if (status === undefined) throw new Error('the process that stayed root is gone');
    if (status !== '0') throw new Error(said.trim() || `exit status ${status}`);
  }

  #take(text: string): void {
    const [line = '', ...rest] = (this.#said + text).split('\n');
    this.#said = rest.length === 0 ? line : rest.join('\n');
    if (rest.length > 0) this.#answer(line);
  }

  #end(): void {
    this.#hasEnded = true;
    this.#answer(undefined);
  }

  #answer(line: string | undefined): void {
    this.#answered?.(line);
    this.#answered = undefined;
  }
}
