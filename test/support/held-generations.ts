/**
 * A plain model of a file whose uploads are interrupted and gone on with: what may be published and held of
 * it. Each content that is ever put is a generation: a number from which its bytes follow, a slice of one
 * file of random bytes.
 */
import { mebibyte } from './sizes.js';

export const dataSize = 40 * mebibyte;

const sizes = [300_001, 2_500_003, 7_000_009, 13_000_027, 26_000_039];

/** Of those that are put in one run no two are as long. */
export function sizeOf(generation: number): number {
  return (sizes[generation % sizes.length] ?? 0) + (generation % 1_000_000);
}

export function offsetOf(generation: number): number {
  return (generation * 104_729) % (dataSize - sizeOf(generation));
}

/** What the name may mean. */
export interface State {
  /** generation of the object in S3 */
  readonly published?: number | undefined;
  readonly held?: { readonly generation: number; readonly size: number } | undefined;
}

/** What somebody does with the name. */
export type Doing =
  | { readonly kind: 'put'; readonly generation: number }
  | { readonly kind: 'resume'; readonly generation: number }
  | { readonly kind: 'remove' };

/** A state in which the size that is held is not known, only that nothing acknowledged is missing. */
interface Outcome {
  readonly published?: number | undefined;
  readonly held?: { readonly generation: number; readonly least: number } | undefined;
}

/** What the mount shows of it. */
export function shownSize({ published, held }: State): number | undefined {
  return held?.size ?? (published === undefined ? undefined : sizeOf(published));
}

/** The states that fit what the mount shows after something was done, or begun. */
export function statesAfter(
  before: readonly State[],
  doing: Doing | undefined,
  shown: number | undefined,
): State[] {
  const states = before.flatMap((state) => [
    ...(shownSize(state) === shown ? [state] : []),
    ...(doing === undefined ? [] : outcomes(state, doing)).flatMap((outcome) =>
      settled(outcome, shown),
    ),
  ]);
  return [...new Map(states.map((state) => [JSON.stringify(state), state])).values()];
}

function outcomes({ published, held }: State, doing: Doing): Outcome[] {
  if (doing.kind === 'remove') return [{ published }, {}];
  const { kind, generation } = doing;
  const least = kind === 'resume' ? (held?.size ?? 0) : 0;
  const outcome = { published, held: { generation, least } };
  // Opening it for a put gives up what was held.
  return [outcome, { published: generation }, ...(kind === 'put' ? [{ published }] : [])];
}

function settled({ published, held }: Outcome, shown: number | undefined): State[] {
  if (held === undefined) return shownSize({ published }) === shown ? [{ published }] : [];
  const { generation, least } = held;
  if (shown === undefined || shown < least || shown > sizeOf(generation)) return [];
  return [{ published, held: { generation, size: shown } }];
}
