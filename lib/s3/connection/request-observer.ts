/** Who watches the requests of a store: for metrics and for the audit log. */
export interface RequestObserver {
  /**
   * One attempt ended.
   * @param attempt.input of the command, as the SDK has it
   * @param attempt.status HTTP status; undefined where no answer came
   * @param attempt.seconds until the answer began, or did not
   */
  attempted(attempt: {
    readonly action: string;
    readonly input: object;
    readonly status: number | undefined;
    readonly seconds: number;
  }): void;
  /** A call about an object was answered, after all its attempts. `key` is relative to the prefix. */
  answered(answer: {
    readonly action: string;
    readonly key: string;
    readonly requestId: string;
  }): void;
  /** S3 asked by Retry-After to wait, and the next attempt does. */
  askedToWait(seconds: number): void;
}
