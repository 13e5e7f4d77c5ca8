/**
 * One suite, many implementations: put a store under it with a factory, from any `*.test.ts`.
 *
 * @example
 * controlStoreConformance('etcd', async () => ({ store: await connectEtcd(), close: async () => {} }));
 */
export { type CellFixture, cellStoreConformance } from './cell-conformance.ts';
export { type ControlFixture, controlStoreConformance } from './control-conformance.ts';
