/**
 * No wait before what is sent again: each is drawn between nothing and a limit (retry-budget.ts), so
 * nothing is one of the waits there are. Loaded by tests of many retries, for all of their process.
 */
Math.random = () => 0;
