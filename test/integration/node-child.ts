/** A store or a node as a process of its own, for the node tests: says where it is, drains when told. */
import { randomId } from '../../src/io/io.ts';
import { realIo } from '../../src/io/real.ts';
import { runNodeProcess } from '../../src/node/process.ts';
import { runStoreProcess } from '../../src/store/process.ts';

export type ChildOrder =
  | { role: 'store'; address: string; directory: string }
  | { role: 'node'; name: string; control: string; appFile: string };

const order = JSON.parse(process.argv[2]!) as ChildOrder;
const io = realIo({ log: { role: order.role }, logLevel: process.env.SKEIN_LOG ?? 'silent' });
const token = 'integration';

if (order.role === 'store') {
  const store = await runStoreProcess({
    io,
    address: order.address,
    token,
    dataDirectory: order.directory,
    cellId: 'cell-here',
    region: 'here',
    control: true,
  });
  await store.registered;
  process.send!({ address: store.address });
} else {
  const node = await runNodeProcess({
    io,
    config: {
      name: order.name,
      processId: `${order.name}.${randomId(io.random)}`,
      region: 'here',
      zone: 'a',
      address: '127.0.0.1:0',
      httpAddress: '127.0.0.1:0',
      homeCell: 'cell-here',
      capacity: { cpu: 1, memoryBytes: 1e9, networkBytesPerSecond: 1e8 },
      usdPerHour: 0,
      token,
      leaseTtlMs: 1_000,
    },
    appFile: order.appFile,
    controlAddress: order.control,
    handlerBlockMsMax: 300,
  });
  process.send!({ address: node.address, httpAddress: node.httpAddress });
  process.on('message', () => {
    void node.drain().then(() => process.exit(0));
  });
}
