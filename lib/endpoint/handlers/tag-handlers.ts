/**
 * GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
 */
import { requirePermission } from '../access/access.js';
import { receiveDocument } from '../wire/body.js';
import type { Call, Reply } from '../call.js';
import { deleteCheck } from './conditions.js';
import type { Bucket } from '../storage/object-folder.js';
import { findObject } from './object-handlers.js';
import { S3Error } from '../wire/s3-error.js';
import type { Service } from '../service.js';
import { checkTags } from '../settings.js';
import {
  childText,
  childrenNamed,
  document,
  element,
  join,
  parseXml,
  record,
} from '../wire/xml.js';

export function getTags(call: Call, bucket: Bucket): Reply {
  const { tags } = findObject(call, bucket, 'GetObjectTagging');
  const set = Object.entries(tags).map(([Key, Value]) => record('Tag', { Key, Value }));
  return { status: 200, body: document('Tagging', element('TagSet', join(...set))) };
}

export async function putTags(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'PutObjectTagging', call.key);
  const request = parseXml(await receiveDocument(call));
  const set = childrenNamed(request, 'TagSet').flatMap((child) => childrenNamed(child, 'Tag'));
  const tags: Record<string, string> = {};
  for (const tag of set) {
    const name = childText(tag, 'Key');
    if (name === undefined || name in tags) throw new S3Error('InvalidTag');
    tags[name] = childText(tag, 'Value') ?? '';
  }
  checkTags(tags);
  await setTags(service, call, bucket, tags);
  return { status: 200 };
}

export async function deleteTags(service: Service, call: Call, bucket: Bucket): Promise<Reply> {
  requirePermission(call, bucket, 'DeleteObjectTagging', call.key);
  await setTags(service, call, bucket, {});
  return { status: 204 };
}

/** Tags are no part of the entity tag or the modification time. */
async function setTags(
  service: Service,
  call: Call,
  bucket: Bucket,
  tags: Readonly<Record<string, string>>,
): Promise<void> {
  const object = bucket.objects.get(call.key);
  if (object === undefined) throw new S3Error('NoSuchKey', { elements: { Key: call.key } });
  await service.folder.putObject(bucket.record.name, { ...object, tags }, deleteCheck(object.etag));
}
