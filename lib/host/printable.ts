/**
 * Text with what steers a terminal, would begin another line, or turns the order of letters around,
 * made visible as `\uNNNN`: names come from users and from S3.
 */

/** Controls of ASCII and of ISO 6429 (C1), line and paragraph separators, marks of direction. */
const steering = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** One line. */
export function printable(text: string): string {
  return text.replace(steering, visible);
}

/** Text whose line breaks are meant. JSON keeps its meaning: there `\uNNNN` is the same letter. */
export function printableLines(text: string): string {
  return text.replace(steering, (letter) => (letter === '\n' ? letter : visible(letter)));
}

function visible(letter: string): string {
  return `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
