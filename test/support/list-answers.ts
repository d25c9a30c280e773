/**
 * What servers make of a LIST: rewritings of the embedded endpoint's answers to ListObjectsV2, for the
 * fault proxy.
 */
import { encodeToken } from '../../lib/endpoint/handlers/listing.js';
import type { FaultProxy } from './fault-proxy.js';
import type { Injection, WholeAnswer } from './faults.js';

/** The parts of a ListBucketResult that tests care for; entries as they stand in the document. */
export interface ListDocument {
  readonly contents: readonly string[];
  readonly prefixes: readonly string[];
  /** undefined on the last page */
  readonly next: string | undefined;
}

/** @param parameters of the request */
export type Rewriting = (list: ListDocument, parameters: URLSearchParams) => ListDocument;

/** Lets every LIST be answered by what `rewriting` makes of the truth. */
export function rewriteLists(
  proxy: FaultProxy,
  rewriting: Rewriting,
  more: { readonly ordinal?: number; readonly count?: number } = {},
): Injection {
  return proxy.inject({
    action: 'ListObjectsV2',
    count: Number.POSITIVE_INFINITY,
    ...more,
    fault: {
      kind: 'rewrite',
      rewrite: (answer, query) =>
        answer.status === 200 ? rewritten(answer, rewriting, query) : answer,
    },
  });
}

function rewritten(answer: WholeAnswer, rewriting: Rewriting, query: string): WholeAnswer {
  const contents = answer.body.match(/<Contents>.*?<\/Contents>/gs) ?? [];
  const prefixes = answer.body.match(/<CommonPrefixes>.*?<\/CommonPrefixes>/gs) ?? [];
  const next = /<NextContinuationToken>(.*?)<\//.exec(answer.body)?.[1];
  const list = rewriting({ contents, prefixes, next }, new URLSearchParams(query));
  const goesOn = list.next === undefined ? 'false' : 'true';
  const count = list.contents.length + list.prefixes.length;
  const body = answer.body
    .replaceAll(/<(Contents|CommonPrefixes)>.*?<\/\1>/gs, '')
    .replace(/<NextContinuationToken>.*?<\/NextContinuationToken>/, '')
    .replace(/<KeyCount>\d+/, `<KeyCount>${count}`)
    .replace(/<IsTruncated>\w+/, `<IsTruncated>${goesOn}`)
    .replace(
      '</ListBucketResult>',
      () =>
        (list.next === undefined
          ? ''
          : `<NextContinuationToken>${list.next}</NextContinuationToken>`) +
        `${list.contents.join('')}${list.prefixes.join('')}</ListBucketResult>`,
    );
  return { ...answer, body };
}

/** The key or prefix of an entry, decoded. */
export function nameIn(entry: string): string {
  const name = /<(?:Key|Prefix)>(.*?)<\//.exec(entry)?.[1] ?? '';
  return decodeURIComponent(name.replaceAll('+', '%20'));
}

/** A token that the endpoint takes to go on behind `name`. */
export function tokenAfter(name: string): string {
  return encodeToken({ after: name, below: name.endsWith('/') });
}

/** Nothing on the first page, and everything behind it. */
export const emptyFirst: Rewriting = (list, parameters) => {
  if (parameters.has('continuation-token')) return list;
  const next = encodeToken({ after: parameters.get('start-after') ?? '', below: false });
  return { contents: [], prefixes: [], next };
};

/** One entry a page, however many are asked for. */
export const onePerPage: Rewriting = (list) => {
  const [first, ...rest] = [...list.contents, ...list.prefixes].sort((a, b) =>
    Buffer.compare(Buffer.from(nameIn(a)), Buffer.from(nameIn(b))),
  );
  if (first === undefined || (rest.length === 0 && list.next === undefined)) return list;
  const isPrefix = list.prefixes.includes(first);
  return {
    contents: isPrefix ? [] : [first],
    prefixes: isPrefix ? [first] : [],
    next: encodeToken({ after: nameIn(first), below: isPrefix }),
  };
};

/** The last first. */
export const backwards: Rewriting = ({ contents, prefixes, next }) => ({
  contents: [...contents].reverse(),
  prefixes: [...prefixes].reverse(),
  next,
});

/** Entries without an element. */
export function without(element: string): Rewriting {
  const pattern = new RegExp(`<${element}>.*?</${element}>`, 's');
  return ({ contents, ...list }) => ({
    ...list,
    contents: contents.map((entry) => entry.replace(pattern, '')),
  });
}
