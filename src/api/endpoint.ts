/**
 * One endpoint: its schemas make the OpenAPI document, check the input, and type what its function gets. Every error
 * leaves as a problem document.
 */
import { createRoute, OpenAPIHono, type RouteConfig, type z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Log } from '../io/io.ts';
import { isErrorCode, PROBLEM_CONTENT_TYPE, ProblemError, problem, problemOf } from '../model/errors.ts';
import { problemSchema } from './schemas.ts';

export interface Endpoint<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  method: 'get' | 'post' | 'put' | 'delete';
  /** With `{parameters}`. */
  path: string;
  tag: string;
  summary: string;
  params?: P;
  query?: Q;
  body?: B;
  /** The body may be left out; its schema must then take `{}`. */
  bodyOptional?: boolean;
  reply: z.ZodType;
  status?: 200 | 201 | 202;
  /** Statuses of problem documents it may answer beside 400 and 401. */
  problems?: number[];
}

export function makeRouter(): OpenAPIHono {
  return new OpenAPIHono({
    defaultHook: (result) => {
      if (result.success) return;
      const issues = result.error.issues.map((issue) => ({
        path: issue.path.map(String).join('.'),
        message: issue.message,
      }));
      const detail = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
      throw new ProblemError('input-invalid', detail, { issues });
    },
  });
}

export function endpoint<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  router: OpenAPIHono,
  spec: Endpoint<P, Q, B>,
  run: (input: { params: z.infer<P>; query: z.infer<Q>; body: z.infer<B> }) => unknown,
): void {
  const status = spec.status ?? 200;
  const problems = Object.fromEntries(
    [400, 401, ...(spec.problems ?? [])].map((code) => [
      code,
      { description: 'A problem document', content: { [PROBLEM_CONTENT_TYPE]: { schema: problemSchema } } },
    ]),
  );
  const config = {
    method: spec.method,
    path: spec.path,
    tags: [spec.tag],
    summary: spec.summary,
    request: {
      ...(spec.params ? { params: spec.params as unknown as z.ZodObject } : {}),
      ...(spec.query ? { query: spec.query as unknown as z.ZodObject } : {}),
      ...(spec.body
        ? {
            body: {
              required: !spec.bodyOptional,
              content: { 'application/json': { schema: spec.body as z.ZodType } },
            },
          }
        : {}),
    },
    responses: {
      [status]: { description: spec.summary, content: { 'application/json': { schema: spec.reply } } },
      ...problems,
    },
  } satisfies RouteConfig;
  const handler = async (context: Context) => {
    const request = context.req as unknown as { valid: (from: string) => unknown };
    const body = spec.body ? (request.valid('json') ?? {}) : {};
    const value = await run({
      params: (spec.params ? request.valid('param') : {}) as z.infer<P>,
      query: (spec.query ? request.valid('query') : {}) as z.infer<Q>,
      body: (spec.bodyOptional ? (spec.body as z.ZodType).parse(body) : body) as z.infer<B>,
    });
    return context.json(value as object, status);
  };
  router.openapi(createRoute(config) as never, handler as never);
}

/** Answers every throw; what is nobody's documented error is a bug and is logged. */
export function problemHandlers(router: OpenAPIHono, log: Log): void {
  router.onError((error) => {
    if (error instanceof ProblemError) return reply(problemOf(error));
    if (error instanceof HTTPException && error.status < 500)
      return reply(problem('input-invalid', error.message || 'the body is not JSON'));
    const { code } = error as { code?: unknown };
    if (typeof code === 'string' && isErrorCode(code) && code !== 'internal')
      return reply(problem(code, error.message));
    log.error({ error: error.stack ?? String(error) }, 'the admin API met a fault');
    return reply(problem('internal', 'the request met a fault; the controller log has more'));
  });
  router.notFound((context) =>
    reply(
      problem(
        'not-found',
        `there is no ${context.req.method} ${context.req.path}; /v1/openapi.json lists what there is`,
      ),
    ),
  );
}

export function reply({ status, body }: { status: number; body: Uint8Array }): Response {
  return new Response(body as Uint8Array<ArrayBuffer>, {
    status,
    headers: {
      'content-type': PROBLEM_CONTENT_TYPE,
      ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    },
  });
}
