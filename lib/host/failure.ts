/**
 * A command failed in a way the operator can act on. The message is the sentence to print, without
 * `s3jail: ` in front; `cause` is for the debug log only.
 */

/** Exit codes as mount(8) has them: 1 wrong call, 2 system, 32 the mount itself failed. */
export type ExitCode = 0 | 1 | 2 | 32;

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: Exclude<ExitCode, 0>;

  constructor(exitCode: Exclude<ExitCode, 0>, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
