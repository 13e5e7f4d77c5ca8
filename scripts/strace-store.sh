#!/bin/sh
# Shows that a store replies only after its sync: runs a store process under strace, makes a few fenced appends one
# after the other, and checks in the trace that between the read that brought each append and the write that answered
# it the database's log was written and synced. Needs strace. Prints the trace of one append.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
port="${PORT:-21973}"
work=$(mktemp -d)
trap 'test -n "${store:-}" && kill "$store" 2>/dev/null; rm -rf "$work"' EXIT

cat > "$work/store.mjs" <<JS
import { realIo } from '$PWD/src/io/real.ts';
import { runStoreProcess } from '$PWD/src/store/process.ts';
await runStoreProcess({
  io: realIo({ logLevel: 'warn' }), address: '127.0.0.1:$port', token: 'trace',
  dataDirectory: '$work/data', cellId: 'cell-trace', region: 'us-east-1', control: false,
});
console.log('serving ' + process.pid);
JS
cat > "$work/client.mjs" <<JS
import { realIo } from '$PWD/src/io/real.ts';
import { RemoteCellStore } from '$PWD/src/store/client.ts';
const cell = new RemoteCellStore(realIo({ logLevel: 'warn' }), '127.0.0.1:$port', { token: 'trace', identity: 'tracer' });
await cell.open('trace/1', 1);
for (let seq = 1; seq <= 10; seq++) {
  const delta = Buffer.from('APPEND-' + seq + '-');
  const [result] = await cell.append([{ shard: 'trace/1', epoch: 1, seq, id: 'trace-id-' + seq, delta }]);
  if (!result.ok) throw new Error('refused');
}
cell.close();
JS

strace -f -y -s 200 -e trace=read,write,writev,pwrite64,fsync,fdatasync -o "$work/trace" \
  node "$work/store.mjs" > "$work/out" 2>"$work/err" &
store=$!
for _ in $(seq 100); do grep -q serving "$work/out" && break; sleep 0.1; done
grep -q serving "$work/out" || { cat "$work/err"; exit 1; }
# The traced process itself: ending strace alone would leave it running.
store=$(sed -n 's/^serving //p' "$work/out")
node "$work/client.mjs"

# One line an event, in order: R an append arrived, W the log was written, S it was synced, A an answer left.
awk '
  /read\(.*(TCP|socket):.*APPEND-/            { print "R" ; next }
  /pwrite64\(.*cell\.sqlite-wal/              { print "W" ; next }
  /f(data)?sync\(.*cell\.sqlite-wal/          { print "S" ; next }
  /write(v)?\(.*(TCP|socket):/                { print "A" ; next }
' "$work/trace" > "$work/events"
sequence=$(tr -d '\n' < "$work/events")
echo "events (R append read, W log written, S log synced, A answered):"
echo "  $sequence" | sed 's/R/ R/g'
# Every R must be followed by W and S before the next A.
echo "$sequence" | awk '
  { n = 0; synced = 1
    for (i = 1; i <= length($0); i++) {
      c = substr($0, i, 1)
      if (c == "R") { n++; written = 0; synced = 0 }
      if (c == "W") written = 1
      if (c == "S" && written) synced = 1
      if (c == "A" && !synced) { print "FAIL: answered before the sync"; exit 1 }
    }
    if (n < 10) { print "FAIL: saw only " n " appends"; exit 1 }
    print "ok: " n " appends, each answered only after its log was written and synced"
  }'
echo "one of them:"
grep -nE 'APPEND-10-' "$work/trace" | head -1 | cut -d: -f1 > "$work/line"
sed -n "$(cat "$work/line"),\$p" "$work/trace" | grep -E 'APPEND|sqlite-wal|TCP|socket' | head -6 | cut -c1-150 | sed "s#$work#DIR#g"
kill "$store"
wait || true
store=
