/** A proxy that leads every name to one port of loopback: CONNECT for https, and requests with a whole URL for http. */
import { createServer, request as forward, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

export class TestProxy {
  /** 127.0.0.1:PORT. */
  readonly host: string;
  /** "CONNECT registry.test:443", "GET http://registry.test/v2/". */
  readonly requests: string[] = [];
  /** Proxy-Authorization, where one came. */
  readonly passwords: string[] = [];
  private readonly server: Server;

  private constructor(server: Server, target: () => string) {
    this.server = server;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connect', ({ url, headers }, socket) => {
      this.note(`CONNECT ${url}`, headers['proxy-authorization']);
      const upstream = connect(Number(target().split(':')[1]), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      for (const [end, other] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        end.on('error', () => end.destroy());
        end.on('close', () => other.destroy());
      }
    });
    server.on('request', (request, response) => {
      this.note(`${request.method} ${request.url}`, request.headers['proxy-authorization']);
      const { pathname, search } = new URL(request.url!);
      const [hostname, port] = target().split(':');
      const { method, headers } = request;
      const onward = forward({ hostname, port, path: pathname + search, method, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    });
  }

  private note(request: string, password: string | undefined): void {
    this.requests.push(request);
    if (password !== undefined) this.passwords.push(password);
  }

  /** `target`: 127.0.0.1:PORT. */
  static async start(target: () => string): Promise<TestProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new TestProxy(server, target);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
  }
}
