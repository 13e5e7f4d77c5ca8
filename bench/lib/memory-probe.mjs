// Preloaded into a role that a benchmark measures: on SIGUSR2 it collects garbage and prints what is left as one line.
// `last-resort` also gives back the young generation, which grows with the rate of allocation, not with what is held.
process.on('SIGUSR2', async () => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  console.log(JSON.stringify({ memory: { rss, heapUsed, external } }));
});
