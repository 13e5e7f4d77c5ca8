/** States that code makes: the first one, and older ones brought to the build's version. Frozen and checked as JSON. */
import { ProblemError } from '../model/errors.ts';
import type { LoadedService } from './handlers.ts';
import { admitState, type Json } from './patch.ts';

/** @throws ProblemError `state-not-json`, or `handler-failed` where `state` throws. */
export function initialState(loaded: LoadedService): Json {
  const { name, options } = loaded.service;
  let state: unknown;
  try {
    state = options.state();
  } catch (cause) {
    throw new ProblemError(
      'handler-failed',
      `state() of ${name} threw: ${(cause as Error).message}`,
      {},
      { cause },
    );
  }
  admitState(state);
  return state;
}

/** @throws ProblemError `state-unreadable` where a step is missing or throws, `state-not-json`. */
export function upgradedState(loaded: LoadedService, old: Json, oldVersion: number): Json {
  const { name, options } = loaded.service;
  let state: unknown = old;
  for (let version = oldVersion; version < loaded.version; version++) {
    const step = options.upgrade?.[version] as ((old: unknown) => unknown) | undefined;
    if (step === undefined) {
      throw new ProblemError('state-unreadable', `${name} has no upgrade from version ${version}`);
    }
    try {
      // A copy: upgrades are written as code that changes what it is given.
      state = step(structuredClone(state));
    } catch (cause) {
      const detail = `the upgrade of ${name} from version ${version} threw: ${(cause as Error).message}`;
      throw new ProblemError('state-unreadable', detail, {}, { cause });
    }
  }
  admitState(state);
  return state;
}
