/**
 * The last net under everything that is logged: secrets are not to get this far, and if one does,
 * through the message of a library for one, it is not written.
 */

/** What secrets look like where their value is not known: the name stays, the value goes. */
const forms: readonly (readonly [form: RegExp, replacement: string])[] = [
  // Presigned URLs and signed headers (Signature Version 4).
  [/(X-Amz-(?:Signature|Security-Token|Credential)=)[^&\s"'\\]+/gi, '$1[redacted]'],
  [/(\bSignature=)[0-9a-f]{16,}/gi, '$1[redacted]'],
  // URLs with a user and password, or with a key pair.
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"'\\]+:[^\s/@"'\\]+@/gi, '$1[redacted]@'],
  // What names itself: secretAccessKey: '…', AWS_SESSION_TOKEN=…, "Token": "…".
  [
    /((?:secret_?access_?key|session_?token|security_?token|authorization_?token)\\?["']?\s*[:=]\s*\\?["']?)[^\s"',}\\]+/gi,
    '$1[redacted]',
  ],
];

/** Shorter texts would take harmless words with them. */
const leastSecretLength = 8;

/** @param secrets values known to be secret, which may go nowhere in any form */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const known = secrets.filter((secret) => secret.length >= leastSecretLength);
  return (text) => {
    let clean = text;
    for (const secret of known) clean = clean.replaceAll(secret, '[redacted]');
    for (const [form, replacement] of forms) clean = clean.replace(form, replacement);
    return clean;
  };
}
