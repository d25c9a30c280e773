/**
 * XML in its plainest form, in which S3 servers write their listings: elements without attributes, and
 * text in the innermost of them only. It is read by whole texts instead of by characters, which takes a
 * quarter of the CPU of a parser. What it takes is well-formed and means the same to every parser; whatever
 * has anything else in it is left to one, and so are all mistakes, so that nothing is refused here, nor
 * taken that a parser would refuse.
 */

export interface Elements {
  open(name: string): void;
  /** @param text behind the last tag before */
  close(name: string, text: string): void;
}

/** Of XML 1.0 in UTF-8, which is also what has no declaration; the root may name its namespace. */
const beginning =
  /^(?:<\?xml version=(["'])1\.0\1(?: encoding=(["'])(?:UTF|utf)-8\2)? ?\?>)?[ \t\n]*<([A-Za-z]+)(?: xmlns=(["'])[\w:/.-]*\4)?>/;
const plainName = /^[A-Za-z]+$/;
const blank = /^[ \t\n]*$/;
/** In texts: what XML forbids, or reads as something else. */
const special = /[>\0-\x08\v-\x1f\ufffe\uffff]/;
const references: ReadonlyMap<string, string> = new Map([
  ...['&quot;', '&#34;', '&#x22;'].map((reference) => [reference, '"'] as const),
  ...['&apos;', '&#39;', '&#x27;'].map((reference) => [reference, "'"] as const),
  ...['&amp;', '&#38;', '&#x26;'].map((reference) => [reference, '&'] as const),
  ...['&lt;', '&#60;', '&#x3c;', '&#x3C;'].map((reference) => [reference, '<'] as const),
  ...['&gt;', '&#62;', '&#x3e;', '&#x3E;'].map((reference) => [reference, '>'] as const),
]);

/**
 * Tells the elements of a document.
 * @returns false where it is not that plain; what was told then means nothing
 */
export function readPlain(document: string, to: Elements): boolean {
  const [begun, , , root] = beginning.exec(document) ?? [];
  if (begun === undefined || root === undefined) return false;
  to.open(root);
  const path = [root];
  let at = begun.length;
  for (;;) {
    const tag = document.indexOf('<', at);
    const end = document.indexOf('>', tag);
    if (tag === -1 || end === -1) return false;
    if (tag > at && !blank.test(document.slice(at, tag))) return false;
    at = end + 1;
    if (document[tag + 1] === '/') {
      const name = document.slice(tag + 2, end);
      if (path.pop() !== name) return false;
      to.close(name, '');
      if (path.length === 0) return blank.test(document.slice(at));
      continue;
    }
    const name = document.slice(tag + 1, end);
    if (!plainName.test(name)) return false;
    to.open(name);
    const next = document.indexOf('<', at);
    if (!isEndOf(name, document, next)) {
      path.push(name);
      continue;
    }
    const text = textOf(document.slice(at, next));
    if (text === undefined) return false;
    to.close(name, text);
    at = next + name.length + 3;
  }
}

/** Whether the end tag of an element stands there. */
function isEndOf(name: string, document: string, at: number): boolean {
  const isEnd = at !== -1 && document[at + 1] === '/' && document.startsWith(name, at + 2);
  return isEnd && document[at + 2 + name.length] === '>';
}

function textOf(written: string): string | undefined {
  if (special.test(written)) return undefined;
  let text = '';
  let at = 0;
  for (;;) {
    const begin = written.indexOf('&', at);
    if (begin === -1) return at === 0 ? written : text + written.slice(at);
    const end = written.indexOf(';', begin) + 1;
    const character = references.get(written.slice(begin, end));
    if (character === undefined) return undefined;
    text += written.slice(at, begin) + character;
    at = end;
  }
}
