/** Loads the true future that the `oracle` policy is given: a module beside the load generator that made it. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { OracleSource } from '../forecast/index.ts';

/**
 * @param file path of a module that exports `oracle`; what follows a `?` is passed on in the module's URL
 * @throws RangeError where the module exports none
 */
export async function loadOracle(file: string): Promise<OracleSource> {
  const question = file.indexOf('?');
  const path = question < 0 ? file : file.slice(0, question);
  const url = pathToFileURL(resolve(path)).href + (question < 0 ? '' : file.slice(question));
  const module = (await import(url)) as { oracle?: OracleSource };
  if (typeof module.oracle?.rates !== 'function')
    throw new RangeError(`${path} exports no \`oracle\` with rates, cost and totalRate`);
  return module.oracle;
}
