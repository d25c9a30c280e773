/** Environment variables for one test, as they were before afterwards. */
import type { Test } from 'tap';

/** Of AWS's variables, exactly these are set until the end of `t`. */
export function setAwsEnvironment(t: Test, variables: Readonly<Record<string, string>>): void {
  const before = { ...process.env };
  t.teardown(() => {
    for (const name of awsNames()) Reflect.deleteProperty(process.env, name);
    for (const [name, value] of Object.entries(before)) {
      if (name.startsWith('AWS_')) process.env[name] = value;
    }
  });
  for (const name of awsNames()) Reflect.deleteProperty(process.env, name);
  // Nothing of the machine the test runs on, and no wait for a metadata service it may have.
  process.env['AWS_CONFIG_FILE'] = '/nonexistent/config';
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/nonexistent/credentials';
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
  Object.assign(process.env, variables);
}

function awsNames(): string[] {
  return Object.keys(process.env).filter((name) => name.startsWith('AWS_'));
}

/** These variables are set until the end of `t`; an empty one is unset. */
export function setEnvironment(t: Test, variables: Readonly<Record<string, string>>): void {
  const before = { ...process.env };
  t.teardown(() => {
    for (const name of Object.keys(variables)) setVariable(name, before[name] ?? '');
  });
  for (const [name, text] of Object.entries(variables)) setVariable(name, text);
}

function setVariable(name: string, text: string): void {
  if (text === '') Reflect.deleteProperty(process.env, name);
  else process.env[name] = text;
}
