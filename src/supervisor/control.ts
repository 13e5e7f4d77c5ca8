/** The supervisor's way to the control store: the same wire, token and emulated distance as everyone's. */
import { EmulatedNetwork } from '../io/emulated-network.ts';
import type { Io } from '../io/io.ts';
import type { Region } from '../model/ids.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { RemoteControlStore } from '../store/client.ts';

export function connectControlStore(options: {
  io: Io;
  address: string;
  token: string;
  /** Where the supervisor counts itself to be; absent: the cluster emulates no distances. */
  emulatedRegion?: Region;
}): RemoteControlStore {
  const { io, address, token, emulatedRegion } = options;
  const network =
    emulatedRegion === undefined
      ? io.network
      : new EmulatedNetwork({
          inner: io.network,
          clock: io.clock,
          region: emulatedRegion,
          topology: AWS_THREE_REGIONS,
        });
  return new RemoteControlStore({ ...io, network }, address, { token, identity: 'supervisor' });
}
