/**
 * The `x-amz-copy-source` header: bucket and key of the object to copy, percent-encoded except for
 * the slashes, as S3's API reference asks (CopyObject, UploadPartCopy).
 */

export function copySource(bucket: string, fullKey: string): string {
  // Of an access point the word stands between its name and the key.
  const place = bucket.startsWith('arn:') ? `${bucket}/object` : bucket;
  return `${place}/${fullKey.split('/').map(encodeSegment).join('/')}`;
}

/** encodeURIComponent leaves `!'()*` alone, which RFC 3986 reserves and some servers decode by. */
function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
