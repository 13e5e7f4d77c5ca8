/** Numbers of a row as base 64: a saved engine crosses the network as JSON or msgpack. */

type Numbers = Float32Array | Uint16Array | Uint8Array;

export function base64(from: Numbers, at: number, count: number): string {
  const bytes = new Uint8Array(
    from.buffer,
    from.byteOffset + at * from.BYTES_PER_ELEMENT,
    count * from.BYTES_PER_ELEMENT,
  );
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return btoa(text);
}

/** @throws {RangeError} where the text holds another count of numbers */
export function fromBase64(text: string, into: Numbers, at: number, count: number): void {
  const decoded = atob(text);
  const size = into.BYTES_PER_ELEMENT;
  if (decoded.length !== count * size)
    throw new RangeError(`a saved row of ${decoded.length} bytes, wanted ${count * size}`);
  const bytes = new Uint8Array(into.buffer, into.byteOffset + at * size, count * size);
  for (let i = 0; i < decoded.length; i++) bytes[i] = decoded.charCodeAt(i);
}
