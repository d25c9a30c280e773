/**
 * What an error document says (S3 API reference, "Error responses"): `<Error>` at the root, or one
 * level below it as other services of AWS have it. What is no XML says nothing: it comes from a
 * gateway or a login page, and its status alone counts.
 */
import { SaxesParser } from 'saxes';

/** The texts right below the error, by name. */
export function errorDocument(document: Buffer): Readonly<Record<string, string>> {
  const said: Record<string, string> = {};
  const path: string[] = [];
  let text = '';
  const parser = new SaxesParser();
  parser.on('opentag', ({ name }) => {
    path.push(name);
    text = '';
  });
  parser.on('text', (piece) => (text += piece));
  parser.on('cdata', (piece) => (text += piece));
  parser.on('closetag', ({ name }) => {
    path.pop();
    if (path.at(-1) === 'Error' && path.length <= 2) said[name] ??= text.trim();
    text = '';
  });
  try {
    parser.write(document.toString()).close();
  } catch {
    // Not worth a word: the status says what to do, and whoever wants the answer sees it on the wire.
    return {};
  }
  return said;
}
