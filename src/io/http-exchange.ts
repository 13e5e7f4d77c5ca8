/**
 * One HTTP exchange by a `fetch`, its answer read whole up to a limit. Needs nothing but what the platforms share.
 *
 * Boundary: it knows no shards, keys or allow-lists, follows no redirect, repeats nothing and sets no time limit; its
 * caller does.
 */
import { type HttpAnswer, type HttpSend, ResponseTooLarge } from './io.ts';

export async function exchange(fetch: typeof globalThis.fetch, request: HttpSend): Promise<HttpAnswer> {
  const { url, method, headers, body, signal, responseBytesMax } = request;
  const response = await fetch(url, {
    method,
    headers,
    body: body as Uint8Array<ArrayBuffer> | undefined,
    signal,
    redirect: 'manual',
  });
  const parts: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by a throw cancels the body, and with it the connection.
  for await (const part of response.body ?? []) {
    bytes += part.byteLength;
    if (bytes > responseBytesMax)
      throw new ResponseTooLarge(`the answer has more than ${responseBytesMax} bytes`);
    parts.push(part);
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return { status: response.status, headers: [...response.headers], body: whole };
}
