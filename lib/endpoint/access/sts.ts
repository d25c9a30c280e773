/**
 * The Security Token Service on the endpoint's own port: AssumeRole, AssumeRoleWithWebIdentity,
 * GetCallerIdentity, in form encoding (STS API reference).
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { authenticateForm } from './access.js';
import type { Reply, Target } from '../call.js';
import type { Principal, SessionCredentials } from './identity.js';
import { parsePolicy, type PolicyDocument } from './policy.js';
import { S3Error, type S3ErrorDetail } from '../wire/s3-error.js';
import type { Role, Service } from '../service.js';
import { children, element, join, record, type Markup } from '../wire/xml.js';

const namespace = 'https://sts.amazonaws.com/doc/2011-06-15/';
const maxPolicyCharacters = 2048;
const maxFormBytes = 64 * 1024;
/** AssumeRole's default session duration. */
const defaultSeconds = 3600;
/** STS allows 15 minutes to 12 hours. */
const minSeconds = 900;
const maxSeconds = 43_200;

/** Answers a POST to the service itself. */
export async function answerSts(
  service: Service,
  request: IncomingMessage,
  target: Target,
): Promise<Reply> {
  const requestId = randomBytes(16).toString('hex');
  const body = await readForm(request);
  const form = new URLSearchParams(body.toString());
  try {
    const result = answerForm(service, form, () =>
      authenticateForm(service, request, target, body),
    );
    const action = form.get('Action') ?? '';
    const content = join(
      element(`${action}Result`, result),
      element('ResponseMetadata', element('RequestId', requestId)),
    );
    return xmlReply(200, `${action}Response`, content);
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    const detail = record('Error', {
      Type: 'Sender',
      Code: stsCode(error),
      Message: error.message,
    });
    return xmlReply(error.status, 'ErrorResponse', join(detail, element('RequestId', requestId)));
  }
}

/** STS has its own name for an unknown key. */
function stsCode({ code }: S3Error): string {
  if (code === 'InvalidAccessKeyId' || code === 'InvalidToken') return 'InvalidClientTokenId';
  if (code === 'MalformedPolicy') return 'MalformedPolicyDocument';
  return code === 'InvalidArgument' ? 'ValidationError' : code;
}

function xmlReply(status: number, name: string, content: Markup): Reply {
  return {
    status,
    headers: { 'content-type': 'text/xml' },
    body: `<${name} xmlns="${namespace}">${content.text}</${name}>`,
  };
}

async function readForm(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxFormBytes) throw new S3Error('EntityTooLarge');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function answerForm(
  service: Service,
  form: URLSearchParams,
  authenticate: () => Principal,
): Markup {
  switch (form.get('Action') ?? '') {
    case 'AssumeRole':
      return assumeRole(service, form, authenticate());
    case 'AssumeRoleWithWebIdentity':
      return assumeRoleWithWebIdentity(service, form);
    case 'GetCallerIdentity': {
      const { arn, accessKeyId } = authenticate();
      return children({ Arn: arn, UserId: accessKeyId, Account: service.accountId });
    }
    default:
      throw refused('NotImplemented', 'This action is not known here');
  }
}

function assumeRole(service: Service, form: URLSearchParams, caller: Principal): Markup {
  const { role, arn, session } = readRole(service, form);
  if (role?.externalId !== undefined && form.get('ExternalId') !== role.externalId) {
    throw denied(caller.arn, arn);
  }
  return startSession(service, form, { owner: caller.owner, arn, session });
}

function assumeRoleWithWebIdentity(service: Service, form: URLSearchParams): Markup {
  const { role, arn, session } = readRole(service, form);
  const token = form.get('WebIdentityToken');
  if (role?.webIdentityToken === undefined || token !== role.webIdentityToken) {
    throw denied('web identity', arn);
  }
  const owner = service.identities.firstKey()?.accessKeyId;
  if (owner === undefined) throw denied('web identity', arn);
  return startSession(service, form, { owner, arn, session });
}

interface RequestedRole {
  readonly role: Role | undefined;
  readonly arn: string;
  readonly session: string;
}

function readRole(service: Service, form: URLSearchParams): RequestedRole {
  const arn = form.get('RoleArn') ?? '';
  const session = form.get('RoleSessionName') ?? '';
  if (!/^arn:aws[\w-]*:iam::\d*:role\/.+$/.test(arn) || !/^[\w+=,.@-]{2,64}$/.test(session)) {
    throw refused('InvalidArgument', 'RoleArn or RoleSessionName is not valid');
  }
  const role = service.roles?.find((candidate) => candidate.arn === arn);
  if (service.roles !== undefined && role === undefined) throw denied('the caller', arn);
  return { role, arn, session };
}

function startSession(
  service: Service,
  form: URLSearchParams,
  { owner, arn, session }: { owner: string; arn: string; session: string },
): Markup {
  const seconds = Number(form.get('DurationSeconds') ?? defaultSeconds);
  if (!Number.isInteger(seconds) || seconds < minSeconds || seconds > maxSeconds) {
    throw refused('InvalidArgument', 'DurationSeconds must be between 900 and 43200');
  }
  const sessionArn = `${arn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/${session}`;
  const expiresMs = service.now() + (service.sessionMs ?? seconds * 1000);
  const text = form.get('Policy');
  const credentials = service.identities.startSession({
    by: owner,
    arn: sessionArn,
    expiresMs,
    policy: text === null ? undefined : sessionPolicy(text),
  });
  return join(
    element('Credentials', credentialFields(credentials)),
    record('AssumedRoleUser', {
      Arn: sessionArn,
      AssumedRoleId: `${credentials.accessKeyId}:${session}`,
    }),
  );
}

/** What STS takes as one (STS API reference, AssumeRole). */
function sessionPolicy(text: string): PolicyDocument {
  if (text.length > maxPolicyCharacters || !/^[\t\n\r\u0020-\u00ff]+$/.test(text)) {
    throw refused('InvalidArgument', 'the policy is too long or holds characters beyond U+00FF');
  }
  try {
    return parsePolicy(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw refused('MalformedPolicy', error.message);
  }
}

function credentialFields(credentials: SessionCredentials): Markup {
  return children({
    AccessKeyId: credentials.accessKeyId,
    SecretAccessKey: credentials.secretAccessKey,
    SessionToken: credentials.sessionToken,
    Expiration: new Date(credentials.expiresMs).toISOString(),
  });
}

function denied(who: string, arn: string): S3Error {
  return refused(
    'AccessDenied',
    `${who} is not authorized to perform: sts:AssumeRole on resource: ${arn}`,
  );
}

function refused(code: S3Error['code'], message: string): S3Error {
  const detail: S3ErrorDetail = { message };
  return new S3Error(code, detail);
}
