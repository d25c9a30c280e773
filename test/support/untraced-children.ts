/**
 * Lets the processes that tests start run as they do for users. tap has each of them load a module
 * that notes, for coverage, which files it loads: three times the start of a command, and a directory
 * that only root may write to. The later listener has the last word: tap's own is there before this
 * module runs, since tap names its module first. No later than now, or what a test file starts at once
 * is traced: an ES module without an ending, such as scripts/s3-endpoint, does not survive that on
 * Node.js 26.
 */
import processOnSpawn from 'process-on-spawn';

processOnSpawn.addListener((spawned) => {
  const { NODE_OPTIONS: nodeOptions = '', ...env } = spawned.env;
  if (!nodeOptions.includes('@tapjs/processinfo')) return;
  // What a test gives its children stays.
  const rest = nodeOptions.split(' ').filter((option) => !option.includes('@tapjs/processinfo'));
  spawned.env = rest.length === 0 ? env : { ...env, NODE_OPTIONS: rest.join(' ') };
});
