/**
 * Lets the processes that tests start run as they do for users. tap has each of them load a module
 * that notes, for coverage, which files it loads: three times the start of a command, and a directory
 * that only root may write to. tap's own listener is added when this module is loaded; the later
 * listener has the last word.
 */
import processOnSpawn from 'process-on-spawn';

setImmediate(() => {
  processOnSpawn.addListener((spawned) => {
    const { NODE_OPTIONS: nodeOptions = '', ...env } = spawned.env;
    if (!nodeOptions.includes('@tapjs/processinfo')) return;
    // What a test gives its children stays.
    const rest = nodeOptions.split(' ').filter((option) => !option.includes('@tapjs/processinfo'));
    spawned.env = rest.length === 0 ? env : { ...env, NODE_OPTIONS: rest.join(' ') };
  });
});
