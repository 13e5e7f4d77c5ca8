/**
 * The one suite every control store passes, whatever its engine and however far away: each sentence of `store.ts`.
 */
import { describe } from 'vitest';
import { controlKeysConformance } from './control-keys-conformance.ts';
import { controlLeasesConformance } from './control-leases-conformance.ts';
import type { ControlFixture } from './control-suite-conformance.ts';

export { type ControlFixture, collect } from './control-suite-conformance.ts';

export function controlStoreConformance(name: string, make: () => Promise<ControlFixture>): void {
  describe(`control store: ${name}`, () => {
    controlKeysConformance(make);
    controlLeasesConformance(make);
  });
}
