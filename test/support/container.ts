/** Another container on this host: mount namespace and PID namespace are its own, directories are shared. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { endingOf, environment, hasEnded, type Ending } from './command.js';
import { letOthersGo } from './mount-namespace.js';
import { until } from './until.js';

export class Container {
  readonly #unshare: ChildProcess;
  /** its first process, by our ids */
  readonly #init: number;

  private constructor(unshare: ChildProcess, init: number) {
    this.#unshare = unshare;
    this.#init = init;
  }

  /** It ends with the test. */
  static async start(t: Test): Promise<Container> {
    const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--mount-proc'];
    const script = `${letOthersGo} echo there; exec sleep infinity`;
    const args = [...namespaces, '--kill-child', 'sh', '-c', script, 'sh', ''];
    const unshare = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((there) => unshare.stdout.once('data', there));
    const { pid = 0 } = unshare;
    const init = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    const container = new Container(unshare, init);
    t.teardown(() => container.end());
    return container;
  }

  run(command: string, ...args: string[]): Promise<Ending> {
    const enter = ['--target', String(this.#init), '--mount', '--pid', '--', command, ...args];
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    return endingOf(spawn('nsenter', enter, { env: environment({}), stdio: [...stdio] }));
  }

  /** All that runs in it is killed. */
  async end(): Promise<void> {
    this.#unshare.kill('SIGKILL');
    await until(() => hasEnded(this.#init));
  }
}
