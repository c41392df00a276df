// The network between the browser and the servers: one address, behind which there can be any of them, or nothing.

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export class Network {
  /** Where new connections lead: a port of the loopback. */
  target = 0
  /** Connections made so far. */
  accepted = 0
  #cut = false
  readonly #pairs = new Set<[Socket, Socket]>()
  readonly #server: Server

  private constructor() {
    this.#server = createServer((inside) => {
      if (this.#cut) return inside.resetAndDestroy()
      this.accepted++
      const outside = connect(this.target, '127.0.0.1')
      const pair: [Socket, Socket] = [inside, outside]
      this.#pairs.add(pair)
      for (const [a, b] of [pair, [outside, inside]] as const) {
        a.on('error', () => b.destroy())
        a.on('close', () => {
          b.destroy()
          this.#pairs.delete(pair)
        })
        a.pipe(b)
      }
    })
  }

  static async start(target: number): Promise<Network> {
    const n = new Network()
    n.target = target
    await new Promise<void>((resolve) => n.#server.listen(0, '127.0.0.1', resolve))
    return n
  }

  get url(): string {
    return 'http://127.0.0.1:' + (this.#server.address() as AddressInfo).port
  }

  /** Ends all connections and refuses new ones. */
  cut(): void {
    this.#cut = true
    for (const [a, b] of this.#pairs) {
      a.resetAndDestroy()
      b.destroy()
    }
  }

  /** Bytes vanish both ways from now on, in the connections that there are. Nobody is told. */
  swallow(): void {
    for (const [a, b] of this.#pairs) {
      a.unpipe(b)
      b.unpipe(a)
      a.resume()
      b.resume()
    }
  }

  restore(): void {
    this.#cut = false
  }

  /** Another way from now on; what is connected is cut. */
  reroute(target: number): void {
    this.cut()
    this.target = target
    this.restore()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}
