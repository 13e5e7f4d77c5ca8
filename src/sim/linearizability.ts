/**
 * Is there an order of these operations that respects real time and that one shard, alone, would have answered so?
 * The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of Lowe ("Testing for
 * linearizability", 2017): a set of operations already in order, together with the state they left, is tried once.
 *
 * Operations without a known answer may have happened at any time after they were sent, or never.
 */

/** One operation as the search sees it. */
export interface TimedOperation {
  invokedMs: number;
  /** Absent: nobody knows whether it happened. */
  returnedMs?: number | undefined;
  /** A place in the order, where one is claimed: operations are tried by it, which finds an order sooner. */
  hint?: number | undefined;
}

/** One shard, alone. States are never changed in place. */
export interface SequentialModel<State, Operation> {
  initial: State;
  /** Equal for equal states only. */
  key(state: State): string;
  /** The state after the operation; undefined where its known answer does not fit this state. */
  step(state: State, operation: Operation): State | undefined;
}

export type Linearizability =
  | { verdict: 'yes'; tried: number }
  | { verdict: 'no'; tried: number }
  /** The search was ended before it came to an answer. */
  | { verdict: 'unknown'; tried: number };

interface Frame<State> {
  state: State;
  /** What may come next, in the order in which to try. */
  candidates: number[];
  at: number;
  /** The operation that led here. */
  from: number;
}

/**
 * @param triesMax steps of the model after which the search gives up.
 *
 * @example
 * const register = { initial: 0, key: String, step: (s, op) => ('put' in op ? op.put : op.got === s ? s : undefined) };
 * linearize([{ invokedMs: 0, returnedMs: 1, put: 3 }, { invokedMs: 2, returnedMs: 3, got: 3 }], register).verdict; // 'yes'
 */
export function linearize<State, Operation extends TimedOperation>(
  operations: readonly Operation[],
  model: SequentialModel<State, Operation>,
  triesMax = 1_000_000,
): Linearizability {
  const done = new Uint8Array(operations.length);
  let open = operations.filter(({ returnedMs }) => returnedMs !== undefined).length;
  let tried = 0;
  const seen = new Set<string>();
  const place = (index: number) => operations[index]!.hint ?? Number.POSITIVE_INFINITY;
  const candidatesNow = (): number[] => {
    // Whoever returned first bounds the rest: what was sent after that cannot come before it.
    let firstReturnMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < operations.length; i++)
      if (!done[i])
        firstReturnMs = Math.min(firstReturnMs, operations[i]!.returnedMs ?? Number.POSITIVE_INFINITY);
    const candidates: number[] = [];
    for (let i = 0; i < operations.length; i++)
      if (!done[i] && operations[i]!.invokedMs <= firstReturnMs) candidates.push(i);
    // Operations without an answer fit anywhere: they are tried where nothing else does.
    const isOpen = (index: number) => (operations[index]!.returnedMs === undefined ? 1 : 0);
    return candidates.sort((a, b) => isOpen(a) - isOpen(b) || place(a) - place(b));
  };
  const stack: Frame<State>[] = [{ state: model.initial, candidates: candidatesNow(), at: 0, from: -1 }];
  while (open > 0) {
    const frame = stack.at(-1)!;
    const index = frame.candidates[frame.at++];
    if (index === undefined) {
      stack.pop();
      if (stack.length === 0) return { verdict: 'no', tried };
      done[frame.from] = 0;
      if (operations[frame.from]!.returnedMs !== undefined) open++;
      continue;
    }
    if (++tried > triesMax) return { verdict: 'unknown', tried };
    const next = model.step(frame.state, operations[index]!);
    if (next === undefined) continue;
    done[index] = 1;
    const memory = `${Buffer.from(done).toString('latin1')}|${model.key(next)}`;
    if (seen.has(memory)) {
      done[index] = 0;
      continue;
    }
    seen.add(memory);
    if (operations[index]!.returnedMs !== undefined) open--;
    stack.push({ state: next, candidates: candidatesNow(), at: 0, from: index });
  }
  return { verdict: 'yes', tried };
}
