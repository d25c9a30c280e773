/**
 * Endpoints that refuse how parts are made: they are made otherwise, then and from then on, and what
 * turned out to help is said once.
 */
import type { StoreError } from '../errors.js';
import type { Log } from '../log.js';
import { PartsRefused } from '../part-rules.js';
import type { PartRemedy, PartRules } from '../part-rules.js';
import type { Path } from '../path.js';

/** What is said once a rule was found to help. */
const notices: Readonly<Record<keyof PartRules, string>> = {
  noCopies: 'the endpoint cannot copy parts: a file that is changed is sent as a whole',
  equalSizes:
    'the endpoint wants parts of one size and gets them from now on; mount with --equal-parts',
};

export interface RemedyParts {
  readonly partRules: PartRules;
  readonly log: Log;
  readonly path: () => Path;
  /** gives up the parts that left already, which are made as the endpoint does not like them */
  readonly drop: () => Promise<void>;
}

/**
 * Publishes, and again by the next rule as long as parts are refused.
 * @throws as `publish`; PartsRefused where no remedy is left
 */
export async function withPartRemedies<T>(
  { partRules, log, path, drop }: RemedyParts,
  publish: () => Promise<T>,
): Promise<T> {
  const tried = new Set<PartRemedy>();
  const noted = new Map<keyof PartRules, { refusal: StoreError; isNew: boolean }>();
  try {
    for (;;) {
      try {
        return await publish();
      } catch (error) {
        if (!(error instanceof PartsRefused)) throw error;
        // Kept, and refused all the same: not what it was about.
        for (const rule of noted.keys()) partRules[rule].lift();
        noted.clear();
        const remedy = error.remedies.find((each) => !tried.has(each));
        if (remedy === undefined) throw error;
        tried.add(remedy);
        if (remedy !== 'again')
          noted.set(remedy, { refusal: error, isNew: partRules[remedy].note() });
        if (remedy !== 'noCopies') await drop();
      }
    }
  } finally {
    for (const [rule, { refusal, isNew }] of noted) {
      if (isNew) log.warn({ path: path(), refused: refusal.message }, notices[rule]);
    }
  }
}
