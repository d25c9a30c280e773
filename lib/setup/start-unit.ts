/** Starting a mount's unit: what it logs when it fails is what the operator hears. */
import { Failure, messageOf } from '../host/failure.js';
import { mustRun, outputOf, refuseIfStopped } from './steps.js';

/** @throws Failure with exit code 32 and what the mount said */
export async function startUnit(
  verb: 'start' | 'restart',
  unit: string,
  stop: AbortSignal,
): Promise<void> {
  try {
    await mustRun('systemctl', [verb, unit], { signal: stop });
  } catch (error) {
    refuseIfStopped(stop);
    throw new Failure(32, await lastWordsOf(unit, messageOf(error)), { cause: error });
  }
}

/** What the mount itself said last, or else systemd of it. */
async function lastWordsOf(unit: string, otherwise: string): Promise<string> {
  const own = ['--identifier=s3jail', '--lines=2'];
  try {
    const shown = await outputOf('systemctl', ['show', unit, '--property=InvocationID', '--value']);
    await outputOf('journalctl', ['--sync']);
    for (const which of [[`_SYSTEMD_INVOCATION_ID=${shown.trim()}`, ...own], ['--lines=3']]) {
      const args = ['--quiet', '--output=cat', '--unit', unit, ...which];
      const said = (await outputOf('journalctl', args)).trim();
      if (said !== '') return said.replace(/^s3jail: /gm, '').replace(/\n/g, '; ');
    }
  } catch (error) {
    return `${otherwise}, and the journal cannot be read: ${messageOf(error)}`;
  }
  return otherwise;
}
