/** Ctrl-C, SIGTERM or a closed terminal as an AbortSignal, so that whoever waits can end in order. */

/** Exit status of a program that ended because it was told to, as a shell reports it. */
const statuses = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type StopSignal = keyof typeof statuses;

export interface StopRequest {
  readonly signal: AbortSignal;
  /** resolves when it has come */
  readonly come: Promise<void>;
  /** exit status that tells of it; 0 before it has come */
  status(): number;
  /** from now on these signals end the process again */
  close(): void;
}

export function listenForStop(): StopRequest {
  const controller = new AbortController();
  let status = 0;
  const listeners = (Object.keys(statuses) as StopSignal[]).map((name) => {
    const listener = (): void => {
      status = statuses[name];
      controller.abort(new Error(`stopped by ${name}`));
    };
    process.on(name, listener);
    return { name, listener };
  });
  return {
    signal: controller.signal,
    come: new Promise((resolve) => {
      controller.signal.addEventListener('abort', () => resolve());
    }),
    status: () => status,
    close: () => {
      for (const { name, listener } of listeners) process.off(name, listener);
    },
  };
}
