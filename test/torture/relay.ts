import { connect, createServer, type Server, type Socket } from 'node:net';

/** A wire to a server on loopback that can be cut. Its port stays the same, so a client never sees another host. */
export interface Relay {
  readonly port: number;
  /** Ends all connections at once and refuses new ones. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

/** Opens a relay to `targetPort`; `cut` also ends it for good. */
export async function openRelay(targetPort: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let port = 0;

  const join = (one: Socket, other: Socket): void => {
    sockets.add(one);
    // A side that breaks off takes the other with it; why it broke is the client's to find out.
    one.on('error', () => other.destroy());
    one.on('close', () => {
      sockets.delete(one);
      other.destroy();
    });
    one.pipe(other);
  };
  const mend = async (): Promise<void> => {
    if (server !== undefined) return;
    const listening = createServer((client) => {
      const target = connect(targetPort, '127.0.0.1');
      join(client, target);
      join(target, client);
    });
    await new Promise<void>((resolve, reject) => {
      listening.once('error', reject);
      listening.listen(port, '127.0.0.1', resolve);
    });
    const address = listening.address();
    if (address !== null && typeof address === 'object') port = address.port;
    server = listening;
  };
  await mend();
  return {
    get port() {
      return port;
    },
    mend,
    cut: async () => {
      const listening = server;
      server = undefined;
      for (const socket of sockets) socket.resetAndDestroy();
      if (listening !== undefined) await new Promise<void>((resolve) => listening.close(() => resolve()));
    },
  };
}
