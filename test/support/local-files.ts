/** Local files of a client: made before a put, compared after a get. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256 } from './bucket.js';

/** Writes a file of random bytes. @returns its SHA-256 */
export async function writeRandomFile(path: string, size: number): Promise<string> {
  const bytes = randomBytes(size);
  await writeFile(path, bytes);
  return sha256(bytes);
}

export async function sha256OfFile(path: string): Promise<string> {
  return sha256(await readFile(path));
}

/** Writes files by their paths relative to `root`; a path ending in `/` makes a directory. */
export async function writeTree(
  root: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const full = join(root, path);
    if (path.endsWith('/')) {
      await mkdir(full, { recursive: true });
    } else {
      await mkdir(dirname(full), { recursive: true });
      await writeFile(full, content);
    }
  }
}

/** The files below `root` and their content, as `writeTree` takes them; empty directories too. */
export async function readTree(root: string): Promise<Record<string, string>> {
  const tree: Record<string, string> = {};
  const visit = async (path: string): Promise<void> => {
    const entries = await readdir(join(root, path), { withFileTypes: true });
    if (entries.length === 0 && path !== '') tree[`${path}/`] = '';
    for (const entry of entries) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) await visit(child);
      else tree[child] = await readFile(join(root, child), 'utf8');
    }
  };
  await visit('');
  return tree;
}
