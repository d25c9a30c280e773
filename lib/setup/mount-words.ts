/** Words of `-o`, as the places that hold a mount's options tell them apart. */
import { isMountWord, isRepeated, oppositeName, variableOf } from '../options/options.js';

/** mount(8) has words of its own for this one. */
const shortForms: Readonly<Record<string, string>> = { ro: 'read-only', rw: 'no-read-only' };

function nameOf(word: string): string {
  const equals = word.indexOf('=');
  const name = (equals < 0 ? word : word.slice(0, equals)).replace(/(?<=.)_/g, '-');
  return shortForms[name] ?? name;
}

/** Whether two words are about one option, be it in its two opposite forms. */
export function isSameOption(one: string, other: string): boolean {
  const [a, b] = [nameOf(one), nameOf(other)];
  return a === b || a === oppositeName(b);
}

/** The value of an option in a list of words; empty for a word without one. */
export function valueOf(words: readonly string[], name: string): string | undefined {
  const word = words.findLast((each) => nameOf(each) === name);
  return word === undefined ? undefined : word.slice(word.indexOf('=') + 1 || word.length);
}

/**
 * The variables that say the same to a unit. The opposite of a switch goes, as both would stand there
 * with no order; words that only mount(8) knows mean nothing there.
 */
export function variablesOf(words: readonly string[]): Record<string, string | undefined> {
  const variables: Record<string, string | undefined> = {};
  for (const word of words) {
    const name = nameOf(word);
    if (isMountWord(word)) continue;
    const equals = word.indexOf('=');
    variables[variableOf(oppositeName(name))] = undefined;
    const value = equals < 0 ? 'yes' : word.slice(equals + 1);
    const before = variables[variableOf(name)];
    variables[variableOf(name)] =
      before !== undefined && isRepeated(name) ? `${before}:${value}` : value;
  }
  return variables;
}
