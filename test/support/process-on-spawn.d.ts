/** What is used of the package, which comes without declarations. */
declare module 'process-on-spawn' {
  interface Spawned {
    env: NodeJS.ProcessEnv;
  }
  const processOnSpawn: { addListener(listener: (spawned: Spawned) => void): void };
  export default processOnSpawn;
}
