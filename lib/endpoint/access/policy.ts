/**
 * IAM policy documents, as much of them as access to S3 needs: Effect, Action, Resource with `*`
 * and `?`, and string conditions on `s3:prefix`, `s3:delimiter` and `s3:max-keys`.
 *
 * An explicit Deny wins, then an Allow, else the request is refused. A condition key the request
 * does not have makes a condition false, as in IAM; an operator that is not known makes loading
 * fail, so that a policy is never read as weaker than it is.
 */

type OneOrMany = string | readonly string[];

export interface PolicyStatement {
  readonly Sid?: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Action: OneOrMany;
  readonly Resource: OneOrMany;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, OneOrMany>>>>;
}

export interface PolicyDocument {
  readonly Version?: string;
  readonly Statement: readonly PolicyStatement[];
}

/** A question to a policy. */
export interface AccessQuestion {
  /** `s3:GetObject` and the like */
  readonly action: string;
  /** `arn:aws:s3:::bucket/key` */
  readonly resource: string;
  /** condition keys such as `s3:prefix` */
  readonly context: Readonly<Record<string, string>>;
}

export function isAllowed(policy: PolicyDocument, question: AccessQuestion): boolean {
  const effects = policy.Statement.filter((statement) => applies(statement, question)).map(
    (statement) => statement.Effect,
  );
  return effects.includes('Allow') && !effects.includes('Deny');
}

/**
 * A policy as text, whole and of a kind that is known here.
 * @throws SyntaxError
 */
export function parsePolicy(text: string): PolicyDocument {
  const policy: unknown = JSON.parse(text);
  if (!isPolicy(policy)) throw new SyntaxError('the policy is not one that is known here');
  return policy;
}

function isPolicy(value: unknown): value is PolicyDocument {
  const statements: unknown = isRecord(value) ? value['Statement'] : undefined;
  return Array.isArray(statements) && statements.length > 0 && statements.every(isStatement);
}

function isStatement(value: unknown): value is PolicyStatement {
  if (!isRecord(value)) return false;
  const { Effect, Action, Resource, Condition = {}, ...rest } = value;
  const isPlain = Object.keys(rest).every((name) => name === 'Sid');
  const isEffect = Effect === 'Allow' || Effect === 'Deny';
  return isPlain && isEffect && isText(Action) && isText(Resource) && areConditions(Condition);
}

function areConditions(value: unknown): boolean {
  if (!isRecord(value)) return false;
  return Object.entries(value).every(
    ([operator, keys]) =>
      operators.has(operator) && isRecord(keys) && Object.values(keys).every(isText),
  );
}

function isText(value: unknown): value is OneOrMany {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  return all.length > 0 && all.every((one) => typeof one === 'string');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function applies(statement: PolicyStatement, question: AccessQuestion): boolean {
  return (
    list(statement.Action).some((pattern) =>
      matches(pattern.toLowerCase(), question.action.toLowerCase()),
    ) &&
    list(statement.Resource).some((pattern) => matches(pattern, question.resource)) &&
    Object.entries(statement.Condition ?? {}).every(([operator, keys]) =>
      Object.entries(keys).every(([key, values]) =>
        holds(operator, list(values), question.context[key]),
      ),
    )
  );
}

const operators = new Map<string, (values: string[], actual: string | undefined) => boolean>([
  ['StringEquals', (values, actual) => actual !== undefined && values.includes(actual)],
  [
    'StringLike',
    (values, actual) => actual !== undefined && values.some((pattern) => matches(pattern, actual)),
  ],
  [
    'StringNotLike',
    (values, actual) => actual === undefined || !values.some((pattern) => matches(pattern, actual)),
  ],
]);

function holds(operator: string, values: string[], actual: string | undefined): boolean {
  const condition = operators.get(operator);
  if (condition === undefined) throw new Error(`policy condition ${operator} is not known here`);
  return condition(values, actual);
}

function list(value: OneOrMany): string[] {
  return typeof value === 'string' ? [value] : [...value];
}

/**
 * IAM wildcards: `*` for any characters, `/` included, `?` for one; `${*}`, `${?}` and `${$}` stand
 * for these characters themselves (IAM user guide, "Policy variables").
 */
function matches(pattern: string, text: string): boolean {
  const source = pattern.replace(/\$\{([*?$])\}|[\\^$.+()|[\]{}*?]/g, (found, literal) => {
    if (typeof literal === 'string') return `\\${literal}`;
    if (found === '*') return '.*';
    return found === '?' ? '.' : `\\${found}`;
  });
  return new RegExp(`^${source}$`, 'su').test(text);
}
