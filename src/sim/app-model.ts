/**
 * An app as its own specification: one shard of it, alone, without cluster, log or faults. What users saw of a shard
 * under faults must be what some order of the same commands and queries gives here.
 *
 * It asks of handlers that the same state and input give the same state and result: one that reads the clock or draws
 * random numbers, or an asynchronous one, cannot be checked so.
 */
import { ProblemError, Refusal } from '../model/errors.ts';
import { parseShardId, type ShardId } from '../model/ids.ts';
import type { ShardRequest } from '../model/request.ts';
import type { App } from '../sdk/service.ts';
import { AppEffects } from '../shard/effects.ts';
import { HandlerContext, isThenable, loadService, resultText, validInput } from '../shard/handlers.ts';
import { dueMs, type Operation, succeeded, type Violation } from './history.ts';
import { linearize, type SequentialModel, type TimedOperation } from './linearizability.ts';
import { WorkloadError } from './workload.ts';

/** A history longer than this is not searched; see `SimulationOptions.linearizable`. */
const OPERATIONS_MAX = 2_000;

interface ModelOperation extends TimedOperation {
  handler: string;
  input: unknown;
  /** Text of the result; absent where the answer is not known or says nothing about the state. */
  result?: string | undefined;
  /** Code of the refusal by the handler itself. */
  refusal?: string | undefined;
}

/** One shard alone sends nothing to anybody. */
const ALONE = {
  random: () => 0,
  effectsOf: () => {
    throw new WorkloadError(
      'a handler with effects cannot be its own specification; set linearizable: false',
    );
  },
};

/** The shard of this id, as a sequential model over its state's JSON text. */
export function modelOf(app: App, shard: ShardId): SequentialModel<string, ModelOperation> {
  const { service: name, key } = parseShardId(shard);
  const service = app.services.find((one) => one.name === name);
  if (!service) throw new WorkloadError(`the app has no service ${name}`);
  const { handlers } = loadService(service, new AppEffects(undefined));
  return {
    initial: JSON.stringify(service.options.state()),
    key: (state) => state,
    step(state, operation) {
      const handler = handlers.get(operation.handler)!;
      const working = JSON.parse(state) as object;
      const request: ShardRequest = {
        shard,
        handler: operation.handler,
        input: new Uint8Array(),
        method: handler.isCommand ? 'post' : 'get',
        origin: '',
        userHash: 0,
        hops: 0,
      };
      const context = new HandlerContext(working, { request }, key, 0, ALONE);
      try {
        const text = operation.input === undefined ? '' : JSON.stringify(operation.input);
        const result = handler.run(context, validInput(handler, text));
        if (isThenable(result))
          throw new WorkloadError(`${name}.${operation.handler} is asynchronous; set linearizable: false`);
        if (operation.refusal !== undefined) return undefined;
        if (operation.result !== undefined && resultText(result) !== operation.result) return undefined;
      } catch (error) {
        if (error instanceof WorkloadError) throw error;
        // It threw: nothing changed. Fits where it is not known to have succeeded.
        const code = error instanceof Refusal || error instanceof ProblemError ? error.code : undefined;
        if (operation.result !== undefined) return undefined;
        if (operation.refusal !== undefined && operation.refusal !== code) return undefined;
        return state;
      }
      return handler.isCommand ? JSON.stringify(working) : state;
    },
  };
}

/** Searches an order for every shard. `unknown`: shards whose search was given up. */
export function checkAgainstApp(
  app: App,
  byShard: ReadonlyMap<ShardId, readonly Operation[]>,
): { violations: Violation[]; unknown: ShardId[] } {
  const violations: Violation[] = [];
  const unknown: ShardId[] = [];
  for (const [shard, operations] of byShard) {
    const relevant = operations.flatMap(timed);
    if (relevant.length > OPERATIONS_MAX) {
      unknown.push(shard);
      continue;
    }
    const { verdict, tried } = linearize(relevant, modelOf(app, shard));
    if (verdict === 'unknown') unknown.push(shard);
    else if (verdict === 'no')
      violations.push({
        rule: 'not-linearizable',
        text: `${shard}: no order of its ${relevant.length} operations explains what users saw (${tried} steps searched)`,
      });
  }
  return { violations, unknown };
}

/** What the search must place: queries only where they were answered, commands wherever they may have happened. */
function timed(operation: Operation): ModelOperation[] {
  const { handler, input, returnedMs, kind, seq } = operation;
  const invokedMs = dueMs(operation);
  const refusal = refusalOf(operation);
  if (succeeded(operation) || refusal !== undefined) {
    const result = succeeded(operation) ? textOf(operation.output) : undefined;
    // At one seq the command that made it comes before those that read it.
    const hint = seq === undefined ? undefined : seq * 2 + (kind === 'query' ? 1 : 0);
    return [{ handler, input, invokedMs, returnedMs, hint, result, refusal }];
  }
  return kind === 'query' ? [] : [{ handler, input, invokedMs }];
}

function textOf(output: unknown): string {
  return output === undefined ? '' : JSON.stringify(output);
}

/** The handler's own refusal, which shows what it read; others, such as 503, show nothing. */
function refusalOf({ status, output, seq }: Operation): string | undefined {
  if (status === undefined || status < 400 || status >= 500 || seq === undefined) return undefined;
  const { code } = (output ?? {}) as { code?: string };
  return code === undefined || code.startsWith('idempotency-key') ? undefined : code;
}
