/**
 * updatedb(8) walks every file system each night that PRUNEFS in its configuration does not name; in a
 * mount that is a listing of each directory, for every user.
 */
import { perform, readIfThere, replaceFile, type RunMode, type Step } from './steps.js';

const path = '/etc/updatedb.conf';
const type = 'fuse.s3jail';
/** Only where this stands is the word taken out again. */
const mark = `# s3jail setup added ${type} to PRUNEFS\n`;
const pattern = /^([ \t]*PRUNEFS[ \t]*=[ \t]*")([^"]*)"/m;

export function withPruned(text: string): string {
  const [, , types] = pattern.exec(text) ?? [];
  if (types === undefined) return `${text.replace(/\n*$/, '\n')}${mark}PRUNEFS="${type}"\n`;
  if (types.split(/\s+/).includes(type)) return text;
  return text.replace(pattern, (_all, begin: string, before: string) => {
    return `${mark}${begin}${`${before} ${type}`.trim()}"`;
  });
}

export function withoutPruned(text: string): string {
  if (!text.includes(mark)) return text;
  return text.replace(mark, '').replace(pattern, (_all, begin: string, before: string) => {
    const rest = before.split(/\s+/).filter((each) => each !== type);
    return `${begin}${rest.join(' ')}"`;
  });
}

export async function keepUpdatedbOut(runMode: RunMode): Promise<void> {
  await change(`keep updatedb(8) out of mounts, in ${path}`, withPruned, runMode);
}

export async function letUpdatedbIn(runMode: RunMode): Promise<void> {
  await change(`take ${type} out of ${path}`, withoutPruned, runMode);
}

async function change(
  what: string,
  edit: (text: string) => string,
  runMode: RunMode,
): Promise<void> {
  const text = await readIfThere(path);
  if (text === undefined) return;
  const write = (content: string) => replaceFile({ path, content, mode: 0o644 });
  const step: Step = {
    what,
    isDone: () => Promise.resolve(edit(text) === text),
    run: () => write(edit(text)),
    undo: () => write(text),
  };
  await perform(step, runMode);
}
