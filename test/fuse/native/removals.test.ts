import t from 'tap';
import { Removals } from '../../../lib/fuse/native/removals.js';
import { parsePath, rootPath, type Path } from '../../../lib/path.js';

const path = parsePath('/d/f');

function recording(): { removed: Path[]; removals: Removals } {
  const removed: Path[] = [];
  const removals = new Removals((each) => {
    removed.push(each);
    return Promise.resolve();
  });
  return { removed, removals };
}

void t.test('a removal that nothing replaces is carried out', async (t) => {
  const { removed, removals } = recording();
  removals.schedule(path);
  t.strictSame(removed, []);
  await removals.settled(path);
  t.strictSame(removed, [path]);
});

void t.test('a rename over the name takes the place of its removal', async (t) => {
  const { removed, removals } = recording();
  removals.schedule(path);
  await removals.replace(path);
  // A second one runs its whole course after the first would have.
  const later = parsePath('/later');
  removals.schedule(later);
  await removals.settled(later);
  t.strictSame(removed, [later]);
});

void t.test('a rename that comes after the removal has begun waits for its end', async (t) => {
  let end: () => void = () => undefined;
  let begun: () => void = () => undefined;
  const hasBegun = new Promise<void>((resolve) => (begun = resolve));
  const order: string[] = [];
  const removals = new Removals(async () => {
    begun();
    await new Promise<void>((resolve) => (end = resolve));
    order.push('removed');
  });
  removals.schedule(path);
  await hasBegun;
  const replaced = removals.replace(path).then(() => order.push('renamed'));
  end();
  await replaced;
  t.strictSame(order, ['removed', 'renamed']);
});

void t.test('whoever asks for the directory waits for removals below it', async (t) => {
  const { removed, removals } = recording();
  removals.schedule(path);
  await removals.settled(parsePath('/d/g'));
  t.strictSame(removed, [], 'a neighbour does not wait');
  await removals.settled(rootPath);
  t.strictSame(removed, [path]);
});
