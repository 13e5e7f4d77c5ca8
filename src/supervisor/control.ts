/** The supervisor's way to the control store: the same wire, token and emulated distance as everyone's. */
import { EmulatedNetwork } from '../io/emulated-network.ts';
import type { Io } from '../io/io.ts';
import type { Region } from '../model/ids.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { connectControl } from '../store/connect.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import type { ControlStore } from '../store/store.ts';

export function connectControlStore(options: {
  io: Io;
  address: string;
  token: string;
  /** Where the supervisor counts itself to be; absent: the cluster emulates no distances. */
  emulatedRegion?: Region;
  /** Where the address is one of etcd. */
  etcd?: EtcdCredentials;
}): ControlStore {
  const { io, address, token, emulatedRegion, etcd } = options;
  const network =
    emulatedRegion === undefined
      ? io.network
      : new EmulatedNetwork({
          inner: io.network,
          clock: io.clock,
          region: emulatedRegion,
          topology: AWS_THREE_REGIONS,
        });
  return connectControl({ ...io, network }, address, { token, identity: 'supervisor', etcd });
}
