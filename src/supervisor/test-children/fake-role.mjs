// A stand-in for a role in the supervisor's tests: serves at once, then does what its arguments say.
const [behaviour, name] = process.argv.slice(2);
const ready = () =>
  console.log(JSON.stringify({ ready: true, role: 'node', address: `127.0.0.1:1`, processId: name }));

if (behaviour === 'exit-before-ready') {
  console.error('the port is taken');
  process.exit(3);
}
setInterval(() => {}, 1000);
if (behaviour === 'never-ready') console.error('waiting for ever');
else ready();
if (behaviour === 'ignore-sigterm') process.on('SIGTERM', () => console.log('not now'));
else {
  process.on('SIGTERM', () => {
    console.log(`ends ${process.hrtime.bigint()}`);
    process.exit(0);
  });
}
if (behaviour === 'block') {
  // Only after the first beats, as a handler would.
  setTimeout(() => {
    for (;;);
  }, 600);
}
