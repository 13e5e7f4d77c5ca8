/** Shapes of the admin API, once: they check input, type handlers and make the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import { AHEAD_S_MAX } from '../controller/forecast-view.ts';
import { FORECAST_METRICS } from '../model/loop.ts';

export const LIMIT_DEFAULT = 100;
export const LIMIT_MAX = 1_000;

const resources = z.object({
  cpu: z.number().describe('core-seconds a second'),
  memoryBytes: z.number(),
  networkBytesPerSecond: z.number(),
});

export const problemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string().describe('documented in docs/errors.md'),
  })
  .openapi('Problem');

export const modeSchema = z.enum(['observe', 'recommend', 'auto']).openapi('Mode');

const promiseSchema = z
  .record(z.string(), z.object({ share: z.number(), nowMs: z.number(), thenMs: z.number() }))
  .describe('by origin: share of the requests, expected latency where the shard is and where it goes')
  .openapi('LatencyPromise');

const measuredSchema = z
  .record(z.string(), z.object({ count: z.number(), meanMs: z.number() }))
  .describe('by origin: what users waited since the hand-off, as gateways measured it')
  .openapi('MeasuredLatency');

const moveSchema = z
  .object({
    shard: z.string(),
    source: z.string(),
    target: z.string(),
    cell: z.string(),
    epoch: z.number().int(),
    reason: z.looseObject({
      text: z.string(),
      gainUsdPerHour: z.number(),
      costUsdPerHour: z.number(),
      latencyMsNow: z.number(),
      latencyMsThen: z.number(),
      promise: promiseSchema.optional(),
    }),
    priority: z.enum(['emergency', 'drain', 'improve', 'manual']),
    bytes: z.number(),
  })
  .openapi('Move');

const planSchema = z
  .object({
    generation: z.number().int(),
    parent: z.number().int(),
    madeAtMs: z.number(),
    moves: z.array(moveSchema),
    later: z
      .array(
        z.object({
          shard: z.string(),
          target: z.string(),
          startInS: z.number(),
          doneInS: z.number(),
          late: z.boolean(),
        }),
      )
      .optional()
      .describe('what follows when, as far as it is laid out; every tick decides it anew'),
  })
  .openapi('Plan');

const decisionSchema = z
  .looseObject({
    tick: z.number().int(),
    atMs: z.number(),
    mode: modeSchema,
    outcome: z.enum(['planned', 'recommended', 'skipped', 'still']),
    reason: z.string(),
    plan: planSchema.optional(),
    forecastRequestsPerSecond: z.object({ p50: z.number(), p90: z.number(), leadS: z.number() }).optional(),
    actualRequestsPerSecond: z.number().optional(),
    forecastQuality: z
      .array(
        z.object({
          aheadS: z.number(),
          coverageP90: z.number(),
          lossAgainstNaive: z.number(),
          fallsBack: z.boolean(),
        }),
      )
      .optional(),
    costUsdPerHour: z.object({ now: z.number(), target: z.number() }).optional(),
    certified: z
      .object({ gap: z.number(), lowerBoundUsdPerHour: z.number() })
      .optional()
      .describe('no placement costs less than the bound; gap: (cost - bound) / bound'),
    infeasible: z
      .array(
        z.object({
          constraint: z.string(),
          count: z.number(),
          examples: z.array(z.string()),
          remedy: z.string(),
        }),
      )
      .optional()
      .describe('hard constraints that no placement can keep'),
    nodeSized: z
      .array(z.object({ shard: z.string(), share: z.number(), neighbours: z.number() }))
      .optional()
      .describe('shards that need at least half of the largest node'),
    tookMs: z.object({ forecast: z.number(), placement: z.number() }),
  })
  .openapi('Decision');

export const decisionsSchema = z.object({ decisions: z.array(decisionSchema) }).openapi('Decisions');

const leaderSchema = z.object({
  processId: z.string(),
  name: z.string(),
  address: z.string(),
  httpAddress: z.string(),
  sinceMs: z.number(),
});

export const statusSchema = z
  .object({
    leads: z.boolean().describe('this controller leads'),
    leader: leaderSchema.optional(),
    mode: modeSchema,
    policy: z.string(),
    nodes: z.object({ ready: z.number(), draining: z.number(), cordoned: z.number() }),
    gateways: z.number(),
    shards: z.number(),
    orphaned: z.number().describe('shards whose process is gone and that nobody has opened yet'),
    quarantined: z.number(),
    migrations: z.number().describe('under way'),
    lastDecision: z.looseObject({ tick: z.number(), reason: z.string() }).optional(),
  })
  .openapi('Status');

export const shardSchema = z
  .object({
    shard: z.string(),
    service: z.string(),
    key: z.string(),
    node: z.string(),
    processId: z.string(),
    region: z.string().optional(),
    zone: z.string().optional(),
    epoch: z.number().int(),
    cell: z.string(),
    standbys: z.array(z.string()),
    version: z.number().int(),
    stateBytes: z.number(),
    orphaned: z.boolean(),
    quarantine: z
      .looseObject({ shard: z.string(), handler: z.string(), quarantined: z.boolean(), sinceMs: z.number() })
      .optional(),
    migration: z
      .object({ id: z.string(), target: z.string(), step: z.string(), percent: z.number() })
      .optional(),
  })
  .openapi('Shard');

export const shardPageSchema = z
  .object({
    shards: z.array(shardSchema),
    next: z.string().optional().describe('pass as `after` for the next page; absent on the last one'),
  })
  .openapi('ShardPage');

export const nodeSchema = z
  .object({
    name: z.string(),
    processId: z.string(),
    region: z.string(),
    zone: z.string(),
    address: z.string(),
    httpAddress: z.string(),
    state: z.enum(['ready', 'draining', 'silent']).describe('silent: three pulls of samples went unanswered'),
    cordoned: z.boolean(),
    shards: z.number(),
    capacity: resources,
    usdPerHour: z.number(),
    services: z.array(z.string()),
    startedAtMs: z.number(),
  })
  .openapi('Node');

export const nodesSchema = z.object({ nodes: z.array(nodeSchema) }).openapi('Nodes');

const migrationSchema = z
  .looseObject({
    id: z.string(),
    shard: z.string(),
    source: z.string(),
    target: z.string(),
    step: z.string(),
    percent: z.number(),
    outcome: z.enum(['completed', 'rolledBack', 'failed']).optional().describe('absent while it runs'),
    reason: z.string(),
    priority: z.string(),
    startedAtMs: z.number(),
    endedAtMs: z.number().optional(),
    detail: z.string().optional(),
    promise: promiseSchema.optional(),
    measured: measuredSchema.optional(),
  })
  .openapi('Migration');

export const planViewSchema = z
  .object({
    plan: planSchema.optional(),
    decision: decisionSchema.optional(),
    last: decisionSchema.optional().describe('the newest decision, also where it moved nothing'),
    migrations: z
      .array(migrationSchema)
      .optional()
      .describe('of the moves of this plan, as far as they are known'),
  })
  .openapi('PlanView');

export const migrationsSchema = z.object({ migrations: z.array(migrationSchema) }).openapi('Migrations');

const series = z.array(z.number());

const forecastMetric = z.enum(FORECAST_METRICS);

export const forecastQuerySchema = z.object({
  node: z.string().max(200).optional().describe('its shards as one'),
  region: z.string().max(64).optional().describe('the shards of its nodes as one'),
  metric: forecastMetric.optional().describe('requests by default'),
  aheadS: z.coerce.number().positive().max(AHEAD_S_MAX).optional().describe('how far ahead, seconds'),
});

export const forecastSchema = z
  .object({
    shard: z.string().optional(),
    node: z.string().optional(),
    region: z.string().optional(),
    metric: forecastMetric,
    stepS: z.number(),
    atMs: z.number(),
    history: series.describe('requests a second, oldest first'),
    foreseen: z.array(z.number().nullable()).describe('what was foreseen for the steps of `history`'),
    horizonsS: series,
    p50: series,
    p90: series,
    p99: series,
    mix: z
      .array(z.object({ handler: z.string(), now: z.number(), ahead: series }))
      .optional()
      .describe('of a shard: share of each handler in the requests of its service, now and at `horizonsS`'),
    explanation: z
      .object({
        periodsS: series,
        weights: z.record(z.string(), z.number()),
        coverageP90: z.number(),
      })
      .optional(),
  })
  .openapi('Forecast');

export const explanationSchema = z
  .object({
    shard: z.string(),
    node: z.string(),
    region: z.string().optional(),
    because: z.array(z.string()),
    moving: z.array(z.string()),
    foreseen: z.array(z.string()),
    alternatives: z.array(
      z.object({
        name: z.string(),
        node: z.string(),
        region: z.string(),
        gainUsdPerHour: z.number(),
        costUsdPerHour: z.number(),
        latencyMsNow: z.number(),
        latencyMsThen: z.number(),
        refusedBy: z.array(z.string()),
      }),
    ),
    ratesByOrigin: z.record(z.string(), z.number()),
    userRttMs: z.number().optional(),
  })
  .openapi('Explanation');

export const settingsSchema = z.object({ mode: modeSchema, setAtMs: z.number() }).openapi('Settings');

const scope = z.union([
  z.strictObject({ shard: z.string() }),
  z.strictObject({ service: z.string() }),
  z.strictObject({ all: z.literal(true) }),
]);

export const signalInputSchema = z
  .strictObject({
    name: z.string().min(1).max(120),
    scope,
    fromMs: z.number().int().nonnegative().describe('Unix milliseconds'),
    toMs: z.number().int().nonnegative(),
    label: z
      .string()
      .min(1)
      .max(120)
      .regex(/^[^\p{Cc}]*$/u, 'no control characters')
      .optional()
      .describe('its type: what signals of it did before is expected again'),
    factor: z
      .number()
      .positive()
      .max(1_000)
      .default(1)
      .describe('expected load times this, for a type never seen'),
    origin: z.string().max(64).optional(),
  })
  .openapi('SignalInput');

const signalSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    scope,
    fromMs: z.number(),
    toMs: z.number(),
    label: z.string().optional(),
    factor: z.number(),
    origin: z.string().optional(),
    declaredAtMs: z.number(),
  })
  .openapi('Signal');

export { signalSchema };
export const signalsSchema = z.object({ signals: z.array(signalSchema) }).openapi('Signals');

const movedCellSchema = z
  .string()
  .min(1)
  .optional()
  .describe(
    'one of the region’s cells, for the log; absent: it stays in its cell where that is of the region',
  );
export const moveInputSchema = z
  .union([
    z.strictObject({ node: z.string().min(1), cell: movedCellSchema }),
    z.strictObject({ region: z.string().min(1), cell: movedCellSchema }),
  ])
  .openapi('MoveInput');
export const moveStartedSchema = z
  .object({ migration: z.string(), target: z.string() })
  .openapi('MoveStarted');
export const cordonInputSchema = z
  .strictObject({ reason: z.string().max(500).default('by hand') })
  .openapi('CordonInput');
export const cordonedSchema = z.object({ node: z.string(), cordoned: z.boolean() }).openapi('Cordoned');
export const drainedSchema = z.object({ node: z.string(), shards: z.number() }).openapi('Draining');
export const releasedSchema = z.object({ shard: z.string(), released: z.boolean() }).openapi('Released');
export const cancelledSchema = z
  .object({ migration: z.string(), cancelled: z.boolean() })
  .openapi('Cancelled');
