/** Two real controllers over a real store on loopback, each with its worker thread. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runControllerProcess } from '../../src/controller/process.ts';
import { realIo } from '../../src/io/real.ts';
import { runStoreProcess } from '../../src/store/process.ts';

it('a standby pulls the state of the leader over the wire, takes over when it resigns, and goes on from it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-controllers-'));
  const io = realIo({ logLevel: 'silent' });
  const token = 'controllers';
  const store = await runStoreProcess({
    io,
    address: '127.0.0.1:0',
    token,
    dataDirectory: directory,
    control: true,
  });
  const start = (name: string) =>
    runControllerProcess({
      io,
      name,
      region: 'us-east-1',
      processId: `${name}.1`,
      token,
      controlAddress: store.address,
      listen: '127.0.0.1:0',
      apiAddress: '127.0.0.1:0',
      version: '0.0.0',
      policy: 'predictive',
      stepMs: 100,
      dataDirectory: directory,
    });
  const decided = (process: Awaited<ReturnType<typeof start>>) =>
    new Promise<void>((resolve) => {
      const stop = process.controller.events.listen((event) => {
        if (event.type !== 'decision') return;
        stop();
        resolve();
      });
    });
  const first = await start('first');
  let second: typeof first | undefined;
  try {
    await decided(first);
    second = await start('second');
    await first.controller.state.keep();
    // The leader key's watch may be a moment behind: the pull is tried until it has an answer.
    for (let copy: Uint8Array | undefined; copy === undefined; copy = await second.controller.state.recover())
      await second.controller.state.keep();
    expect(await second.controller.state.recover()).toEqual(
      new Uint8Array((await first.controller.state.recover())!),
    );
    expect(second.controller.election.leads).toBe(false);
    const taken = decided(second);
    await first.close();
    await taken;
    expect(second.controller.election.leads).toBe(true);
    expect(second.controller.election.leader?.httpAddress).toBe(second.httpAddress);
  } finally {
    await first.close();
    await second?.close();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
