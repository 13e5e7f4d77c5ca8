/**
 * The admin API: every endpoint, in the order of its documentation (docs/api.md). A thin skin over
 * `controller/operations.ts`: it checks input and caller and renders; it decides nothing.
 */

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import type { Operations } from '../controller/operations.ts';
import { ProblemError } from '../model/errors.ts';
import { parseShardId, type ShardId, shardId } from '../model/ids.ts';
import { endpoint, makeRouter, problemHandlers } from './endpoint.ts';
import { eventStream, STREAMS_MAX } from './event-stream.ts';
import { Guard } from './guard.ts';
import { controllerMetrics } from './metrics.ts';
import * as s from './schemas.ts';

export const API_BODY_BYTES_MAX = 64 * 1024;

export interface ApiOptions {
  operations: Operations;
  /** Bearer token; absent: loopback callers only. */
  token?: string;
  /** Of the package, for the OpenAPI document. */
  version: string;
  /** False while the process drains: `/readyz` then answers 503. */
  ready: () => boolean;
}

const shardParams = z.object({
  service: z.string().openapi({ example: 'room' }),
  key: z
    .string()
    .openapi({ description: 'percent-encoded where it holds more than letters', example: 'lobby' }),
});
const nodeParams = z.object({ name: z.string() });
const limit = z.coerce.number().int().min(1).max(s.LIMIT_MAX).default(s.LIMIT_DEFAULT);

export function makeApi(options: ApiOptions): OpenAPIHono {
  const router = makeRouter();
  const guard = new Guard(options.token);
  const { io } = options.operations.controller;
  router.use('*', async (context, next) => {
    guard.check({ path: context.req.path, header: (name) => context.req.header(name) });
    await next();
  });
  router.use(
    '/v1/*',
    bodyLimit({
      maxSize: API_BODY_BYTES_MAX,
      onError: () => {
        throw new ProblemError('body-too-large', `the admin API takes at most ${API_BODY_BYTES_MAX} bytes`);
      },
    }),
  );
  problemHandlers(router, io.log);
  health(router, options);
  shards(router, options.operations);
  nodes(router, options.operations);
  loop(router, options.operations);
  events(router, options.operations);
  router.doc31('/v1/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Skein admin API',
      version: options.version,
      description: 'See and order what a Skein cluster does. Errors are problem documents (RFC 9457).',
    },
  });
  return router;
}

function health(router: OpenAPIHono, options: ApiOptions): void {
  const registry = controllerMetrics(options.operations);
  const { view } = options.operations.controller;
  router.get('/metrics', async () => {
    return new Response(await registry.metrics(), { headers: { 'content-type': registry.contentType } });
  });
  router.get('/healthz', (context) => context.json({ ok: true }));
  router.get('/readyz', (context) => {
    const ready = options.ready() && view.ready;
    return context.json({ ready, leads: options.operations.controller.election.leads }, ready ? 200 : 503);
  });
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/status',
      tag: 'cluster',
      summary: 'The cluster at a glance',
      reply: s.statusSchema,
    },
    () => options.operations.status(),
  );
}

function shards(router: OpenAPIHono, operations: Operations): void {
  const tag = 'shards';
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/shards',
      tag,
      summary: 'Shards in order of id, a page at a time',
      query: z.object({
        node: z.string().optional(),
        region: z.string().optional(),
        service: z.string().optional(),
        after: z.string().optional(),
        limit,
      }),
      reply: s.shardPageSchema,
    },
    ({ query }) => operations.shards(query),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/shards/{service}/{key}',
      tag,
      summary: 'One shard',
      params: shardParams,
      reply: s.shardSchema,
      problems: [404],
    },
    ({ params }) => operations.shard(idOf(params)),
  );
  endpoint(
    router,
    {
      method: 'post',
      path: '/v1/shards/{service}/{key}/move',
      tag,
      summary: 'Start moving a shard to a node, or to the best node of a region',
      params: shardParams,
      body: s.moveInputSchema,
      reply: s.moveStartedSchema,
      status: 202,
      problems: [404, 409],
    },
    ({ params, body }) => operations.move(idOf(params), body),
  );
  endpoint(
    router,
    {
      method: 'post',
      path: '/v1/shards/{service}/{key}/release',
      tag,
      summary: 'Let a quarantined shard take commands again',
      params: shardParams,
      reply: s.releasedSchema,
      problems: [404, 503],
    },
    ({ params }) => operations.release(idOf(params)),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/shards/{service}/{key}/explain',
      tag,
      summary: 'Why a shard is where it is, what moving it would gain and cost, and what is foreseen',
      params: shardParams,
      reply: s.explanationSchema,
      problems: [404, 409],
    },
    ({ params }) => operations.explain(idOf(params)),
  );
}

function nodes(router: OpenAPIHono, operations: Operations): void {
  const tag = 'nodes';
  const common = { method: 'post', tag, params: nodeParams, problems: [404, 409, 503] as number[] } as const;
  endpoint(router, { method: 'get', path: '/v1/nodes', tag, summary: 'Nodes', reply: s.nodesSchema }, () => ({
    nodes: operations.nodes(),
  }));
  endpoint(
    router,
    {
      ...common,
      path: '/v1/nodes/{name}/drain',
      summary: 'Empty a node: it takes nothing new, and its shards are moved away',
      reply: s.drainedSchema,
      status: 202,
    },
    ({ params }) => operations.drain(params.name),
  );
  endpoint(
    router,
    {
      ...common,
      path: '/v1/nodes/{name}/cordon',
      summary: 'Let placement put nothing new on a node',
      body: s.cordonInputSchema,
      bodyOptional: true,
      reply: s.cordonedSchema,
    },
    ({ params, body }) => operations.cordon(params.name, body.reason),
  );
  endpoint(
    router,
    { ...common, path: '/v1/nodes/{name}/uncordon', summary: 'End a cordon', reply: s.cordonedSchema },
    ({ params }) => operations.uncordon(params.name),
  );
}

function loop(router: OpenAPIHono, operations: Operations): void {
  const tag = 'loop';
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/plan',
      tag,
      summary: 'The newest plan that holds moves, with its decision',
      reply: s.planViewSchema,
      problems: [409],
    },
    () => operations.plan(),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/decisions',
      tag,
      summary: 'The last decisions, oldest first: one a tick, also when nothing moved',
      query: z.object({ limit }),
      reply: s.decisionsSchema,
      problems: [409],
    },
    ({ query }) => ({ decisions: operations.decisions(query.limit) }),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/migrations',
      tag,
      summary: 'Migrations under way and those that ended lately',
      reply: s.migrationsSchema,
      problems: [409],
    },
    () => ({ migrations: operations.migrations() }),
  );
  endpoint(
    router,
    {
      method: 'post',
      path: '/v1/migrations/{id}/cancel',
      tag,
      summary: 'Roll a migration back',
      params: z.object({ id: z.string() }),
      reply: s.cancelledSchema,
      status: 202,
      problems: [404, 409],
    },
    ({ params }) => operations.cancel(params.id),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/forecast',
      tag,
      summary: 'One metric of the whole cluster, a node or a region: measured and foreseen',
      query: s.forecastQuerySchema,
      reply: s.forecastSchema,
      problems: [404, 409],
    },
    ({ query }) => operations.forecast(undefined, query),
  );
  endpoint(
    router,
    {
      method: 'get',
      path: '/v1/forecast/{service}/{key}',
      tag,
      summary: 'One metric of one shard: measured and foreseen',
      params: shardParams,
      query: s.forecastQuerySchema.omit({ node: true, region: true }),
      reply: s.forecastSchema,
      problems: [404, 409],
    },
    ({ params, query }) => operations.forecast(idOf(params), query),
  );
  endpoint(
    router,
    {
      method: 'put',
      path: '/v1/mode',
      tag,
      summary: 'Set what the loop may do: observe, recommend or auto',
      body: z.strictObject({ mode: s.modeSchema }),
      reply: s.settingsSchema,
      problems: [503],
    },
    ({ body }) => operations.setMode(body.mode),
  );
  endpoint(
    router,
    { method: 'get', path: '/v1/signals', tag, summary: 'Declared signals', reply: s.signalsSchema },
    () => ({ signals: operations.signals() }),
  );
  endpoint(
    router,
    {
      method: 'post',
      path: '/v1/signals',
      tag,
      summary: 'Declare load that is coming',
      body: s.signalInputSchema,
      reply: s.signalSchema,
      status: 201,
      problems: [409, 503],
    },
    ({ body }) => {
      if ('shard' in body.scope) checkShard(body.scope.shard);
      return operations.declareSignal(body);
    },
  );
}

function events(router: OpenAPIHono, operations: Operations): void {
  const { events: ring, io } = operations.controller;
  let streams = 0;
  router.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/events',
    tags: ['events'],
    summary:
      'Server-sent events: decision, migration, node, repair, leader, mode; resumes after Last-Event-ID, `reset` where it cannot',
    request: { query: z.object({ types: z.string().optional().describe('comma-separated') }) },
    responses: {
      200: { description: 'An event stream', content: { 'text/event-stream': { schema: z.string() } } },
    },
  });
  router.get('/v1/events', (context) => {
    if (streams >= STREAMS_MAX)
      throw new ProblemError('overloaded', `${STREAMS_MAX} event streams are open already`);
    streams++;
    const types = context.req.query('types');
    const stream = eventStream({
      ring,
      clock: io.clock,
      lastEventId: context.req.header('last-event-id'),
      types: types === undefined ? undefined : new Set(types.split(',')),
      onEnd: () => {
        streams--;
      },
    });
    return new Response(stream, {
      headers: {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      },
    });
  });
}

function idOf(params: { service: string; key: string }): ShardId {
  try {
    return shardId(params.service, params.key);
  } catch (error) {
    throw new ProblemError('input-invalid', (error as Error).message);
  }
}

function checkShard(id: ShardId): void {
  try {
    parseShardId(id);
  } catch (error) {
    throw new ProblemError('input-invalid', (error as Error).message);
  }
}
