/**
 * The text with what steers a terminal, or would begin another line, made visible as `\uNNNN`: names
 * come from users and from S3.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Bidi_Control}]/gu, (letter) => {
    const code = letter.codePointAt(0) ?? 0;
    return `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
