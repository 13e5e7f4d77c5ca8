// The least an HTTP front in this runtime can do: node:http, the body read, one small JSON answer. What is left between
// this and a durable command is Skein's; what is below it is not to be had with node:http.
import { createServer } from 'node:http';

const server = createServer({ noDelay: true, keepAliveTimeout: 75_000 }, (request, response) => {
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
  });
  request.on('end', () => {
    const body = String(bytes);
    response.writeHead(200, [
      ...['content-type', 'application/json', 'cache-control', 'no-store'],
      ...['skein-epoch', '1', 'skein-seq', '1', 'skein-served-by', 'n1.0000000000'],
      ...['content-length', String(body.length)],
    ]);
    response.end(body, 'latin1');
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ ready: true, httpAddress: `127.0.0.1:${server.address().port}` }));
});
