/**
 * The little XML that S3 speaks: writing answers, reading request documents.
 *
 * Writing escapes control characters as character references, as S3 does; that is not XML 1.0,
 * which is why clients ask for encoding-type=url. Reading accepts elements, text, references and
 * CDATA; document types are refused, so that no entity can be defined. Control characters are taken
 * where a strict XML 1.0 parser, and so S3 itself, refuses the document.
 */
import { S3Error } from './s3-error.js';

const xmlHead = '<?xml version="1.0" encoding="UTF-8"?>\n';
const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** Content of an element: text, or markup that is already escaped. */
export type XmlContent = string | number | boolean | Markup;

/** Children by name, in order. */
export type XmlFields = Readonly<Record<string, XmlContent | undefined>>;

/** Escaped markup; only the functions here make it. */
export class Markup {
  constructor(readonly text: string) {}
}

const named: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

const special = /[&<>"\u0000-\u0008\u000b-\u001f\u007f\ufffe\uffff]/;
const everySpecial = new RegExp(special, 'g');

/** Text as it may stand between tags. */
export function escapeXml(text: string): string {
  if (!special.test(text)) return text;
  return text.replace(
    everySpecial,
    (character) => named[character] ?? `&#x${character.charCodeAt(0).toString(16)};`,
  );
}

/** One element; absent if the content is undefined. */
export function element(name: string, content: XmlContent | undefined): Markup {
  return new Markup(elementText(name, content));
}

function elementText(name: string, content: XmlContent | undefined): string {
  if (content === undefined) return '';
  const inner = content instanceof Markup ? content.text : escapeXml(String(content));
  return `<${name}>${inner}</${name}>`;
}

/** Elements one after the other. */
export function join(...parts: readonly Markup[]): Markup {
  let text = '';
  for (const part of parts) text += part.text;
  return new Markup(text);
}

/** A flat element with one child for each defined field. */
export function record(name: string, fields: XmlFields): Markup {
  return new Markup(`<${name}>${fieldsText(fields)}</${name}>`);
}

/** One child for each defined field. */
export function children(fields: XmlFields): Markup {
  return new Markup(fieldsText(fields));
}

/** Listings have a thousand of these, so there is one string and no list in between. */
function fieldsText(fields: XmlFields): string {
  let text = '';
  for (const name in fields) text += elementText(name, fields[name]);
  return text;
}

/** A whole answer in S3's namespace. */
export function document(name: string, content: Markup): string {
  return `${xmlHead}<${name} xmlns="${namespace}">${content.text}</${name}>`;
}

/** A whole answer without a namespace, as S3's errors are. */
export function plainDocument(name: string, content: Markup): string {
  return `${xmlHead}<${name}>${content.text}</${name}>`;
}

/** An element of a request document. */
export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

interface OpenElement {
  readonly name: string;
  text: string;
  readonly children: XmlElement[];
}

/**
 * Reads a request document.
 * @throws S3Error MalformedXML
 */
export function parseXml(source: string): XmlElement {
  const stack: OpenElement[] = [{ name: '', text: '', children: [] }];
  const token =
    /<!\[CDATA\[([\s\S]*?)\]\]>|<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<(\/?)([^\s<>/!?]+)([^<>]*?)(\/?)>|([^<]+)/y;
  let position = 0;
  while (position < source.length) {
    token.lastIndex = position;
    const match = token.exec(source);
    const top = stack.at(-1);
    if (match === null || top === undefined) throw new S3Error('MalformedXML');
    position = token.lastIndex;
    const [, cdata, closing, tag, , selfClosing, text] = match;
    if (cdata !== undefined) top.text += cdata;
    else if (text !== undefined) top.text += decodeReferences(text);
    else if (tag !== undefined)
      takeTag(stack, localName(tag), closing === '/', selfClosing === '/');
  }
  const root = stack[0]?.children;
  if (stack.length !== 1 || root?.length !== 1 || root[0] === undefined) {
    throw new S3Error('MalformedXML');
  }
  return root[0];
}

function takeTag(stack: OpenElement[], name: string, closing: boolean, selfClosing: boolean): void {
  const top = stack.at(-1);
  if (top === undefined) throw new S3Error('MalformedXML');
  if (closing) {
    if (stack.length === 1 || top.name !== name) throw new S3Error('MalformedXML');
    stack.pop();
    return;
  }
  const opened: OpenElement = { name, text: '', children: [] };
  top.children.push(opened);
  if (!selfClosing) stack.push(opened);
}

function localName(tag: string): string {
  return tag.slice(tag.indexOf(':') + 1);
}

const references: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

function decodeReferences(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(#x[0-9a-fA-F]+|#[0-9]+|\w+)?;?/g, (whole, name: string | undefined) => {
    if (name === undefined || !whole.endsWith(';')) throw new S3Error('MalformedXML');
    const code = name.startsWith('#x')
      ? Number.parseInt(name.slice(2), 16)
      : name.startsWith('#')
        ? Number.parseInt(name.slice(1), 10)
        : undefined;
    if (code !== undefined && code <= 0x10ffff) return String.fromCodePoint(code);
    const character = references[name];
    if (character === undefined) throw new S3Error('MalformedXML');
    return character;
  });
}

/** The children of that name. */
export function childrenNamed(parent: XmlElement, name: string): readonly XmlElement[] {
  return parent.children.filter((child) => child.name === name);
}

/** The text of the first child of that name, or undefined. */
export function childText(parent: XmlElement, name: string): string | undefined {
  return parent.children.find((child) => child.name === name)?.text;
}
