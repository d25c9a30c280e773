/**
 * What an endpoint may demand of multipart uploads beyond S3's own rules, learnt from refusals by
 * whoever composes the parts.
 *
 * A refusal seldom says what it is about, so it names what may help, and what is believed afterwards
 * is what did: a rule that was kept and refused all the same is given up again.
 */
import type { Clock } from './clock.js';
import { StoreError } from './errors.js';
import type { StoreErrorDetail } from './errors.js';
import { Limitation } from './limitation.js';

export class PartRules {
  /** it cannot copy parts */
  readonly noCopies: Limitation;
  /** all parts but the last have to be of one size */
  readonly equalSizes: Limitation;

  constructor(clock?: Clock) {
    this.noCopies = new Limitation(clock);
    this.equalSizes = new Limitation(clock);
  }
}

/** `again`: a new upload of the same parts, whose sums the store then sends in another way. */
export type PartRemedy = 'again' | keyof PartRules;

/** How the rejection of a copied part, or of an upload that was to be completed, may be avoided. */
export class PartsRefused extends StoreError {
  /** what to try, in this order */
  readonly remedies: readonly PartRemedy[];

  constructor(message: string, remedies: readonly PartRemedy[], detail: StoreErrorDetail) {
    super('unsupported', message, detail);
    this.remedies = remedies;
  }
}
