// A Doorbell in memory behind a fetch and a WebSocket of its own. Time is whatever setTimeout is.

import { FakeFeed, Refusal } from './store.js'

export interface Request { method: string; path: string; query: URLSearchParams; search: string; headers: Headers; body: any; credentials: string | undefined }

export class FakeServer {
  feeds = new Map<string, FakeFeed>()
  requests: Request[] = []
  sockets: FakeSocket[] = []
  #streams = new Set<(event: string, data: object) => void>()
  #polls = new Set<() => void>()
  #epochs = 0

  // What the network and the server are like.
  down = false
  websocket: 'ok' | 'refused' | 'silent' = 'ok'
  sse: 'ok' | 'refused' | 'silent' = 'ok'
  longPoll: 'ok' | 'refused' = 'ok'
  limit = 1000
  latency = 5
  headers: Record<string, string> = {}
  publicReads = true
  tokens: Set<string> | undefined
  degraded = false
  /** Changes an answer on its way, as a cache or a proxy would. */
  meddle: ((r: Request) => Request | Response | undefined) | undefined
  #idempotent = new Map<string, object>()

  feed(name: string): FakeFeed {
    let f = this.feeds.get(name)
    if (!f) this.feeds.set(name, (f = new FakeFeed(name, this.nextEpoch())))
    return f
  }

  nextEpoch(): string {
    return '0k' + String(++this.#epochs).padStart(5, '0')
  }

  /** Writes and signals. */
  write(name: string, ...changes: { key: string; value?: unknown; deleted?: boolean }[]): string {
    const { cursor } = this.feed(name).write(changes)
    this.signal(name)
    return cursor
  }

  drop(name: string): void {
    this.feeds.set(name, new FakeFeed(name, this.nextEpoch()))
    this.signal(name)
  }

  signal(name: string, spread?: number): void {
    const message = { changed: { [name]: this.feeds.get(name)!.head }, ...(spread && { spread }) }
    this.tell(message, name)
    for (const poll of [...this.#polls]) poll()
  }

  tell(message: object, feed?: string): void {
    for (const s of this.sockets) if (!feed || s.feeds.has(feed)) s.receive(message)
    for (const send of this.#streams) send(Object.keys(message)[0]!, message)
  }

  /** Everything that is connected loses its connection. */
  cut(): void {
    for (const s of [...this.sockets]) s.drop(1006)
    for (const send of [...this.#streams]) send('', {})
  }

  reads(): string[] {
    return this.requests.filter((r) => r.method === 'GET' && r.path.startsWith('/v1/feeds/')).map((r) => r.path.slice(10) + r.search)
  }

  fetch = async (input: string, init: RequestInit = {}): Promise<Response> => {
    await this.#wait(this.latency, init.signal)
    if (this.down) throw new TypeError('fetch failed')
    const url = new URL(input)
    let r: Request = {
      method: init.method ?? 'GET', path: url.pathname, query: url.searchParams, search: url.search, headers: new Headers(init.headers),
      body: init.body ? JSON.parse(init.body as string) : undefined, credentials: init.credentials,
    }
    this.requests.push(r)
    const meddled = this.meddle?.(r)
    if (meddled instanceof Response) return meddled
    r = meddled ?? r
    try {
      if (this.tokens) {
        const token = r.headers.get('Authorization')?.slice(7)
        if (!token || !this.tokens.has(token)) throw new Refusal(401, 'unauthorized')
      }
      return await this.#answer(r, init.signal ?? undefined)
    } catch (e) {
      if (!(e instanceof Refusal)) throw e
      return json(e.status, { status: e.status, code: e.code, detail: e.code, ...e.members }, { 'Cache-Control': 'no-store', ...e.headers })
    }
  }

  async #answer(r: Request, signal?: AbortSignal): Promise<Response> {
    const [, , kind, name = '', rest] = r.path.split('/')
    if (kind === 'signals') return this.#stream(r, signal)
    if (kind === 'poll') return this.#poll(r, signal)
    if (kind === 'heads') {
      return json(200, { heads: Object.fromEntries(r.query.getAll('feed').map((f) => [f, this.feeds.get(f)?.head ?? ''])) })
    }
    if (kind !== 'feeds') throw new Refusal(404, 'not_found')
    if (r.method === 'POST') {
      const key = r.headers.get('Idempotency-Key')!
      const answer = this.#idempotent.get(key) ?? this.feed(name).write(r.body.changes)
      if (!this.#idempotent.has(key)) this.signal(name)
      this.#idempotent.set(key, answer)
      return json(200, answer)
    }
    const feed = this.feeds.get(name)
    if (!feed) throw new Refusal(404, 'no_feed')
    const cacheControl = this.publicReads ? 'public, max-age=0, must-revalidate' : 'private, no-cache'
    const since = rest === 'changes' ? (r.query.get('since') ?? '') : ''
    const page = feed.read(since, r.query.get('at_least') ?? '', Number(r.query.get('limit') ?? this.limit))
    return json(200, page, { 'Cache-Control': cacheControl, ...this.headers })
  }

  async #poll(r: Request, signal?: AbortSignal): Promise<Response> {
    if (this.longPoll === 'refused') throw new Refusal(404, 'not_found')
    const moved = () => {
      const feeds: Record<string, object> = {}
      for (const [name, since] of Object.entries(r.body.feeds as Record<string, string>)) {
        const f = this.feeds.get(name)
        try {
          if (!f) throw new Refusal(404, 'no_feed')
          if (f.head !== since) feeds[name] = f.read(since, '', this.limit)
        } catch (e) {
          if (e instanceof Refusal) feeds[name] = { status: e.status, code: e.code, ...e.members }
        }
      }
      return feeds
    }
    const until = Date.now() + (parseInt(r.body.wait) || 0) * 1000
    for (;;) {
      const feeds = moved()
      const news = Object.values(feeds).some((p) => ![403, 404].includes((p as any).status))
      if (news || Date.now() >= until) return json(200, { feeds })
      await new Promise<void>((resolve, reject) => {
        const done = () => {
          this.#polls.delete(done)
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(done, until - Date.now())
        this.#polls.add(done)
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
      if ((this.longPoll as string) === 'refused') throw new TypeError('cut')
    }
  }

  #stream(r: Request, signal?: AbortSignal): Promise<Response> | Response {
    if (this.sse === 'refused') throw new Refusal(426, 'upgrade_required')
    const feeds = r.query.getAll('feed')
    let send!: (event: string, data: object) => void
    const body = new ReadableStream({
      start: (c) => {
        const text = new TextEncoder()
        send = (event, data) => {
          if (event === '') {
            this.#streams.delete(send)
            c.error(new TypeError('cut'))
          } else if (event !== 'changed' || feeds.some((f) => f in (data as any).changed)) {
            c.enqueue(text.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
          }
        }
        this.#streams.add(send)
        const comments = setInterval(() => this.#streams.has(send) && c.enqueue(text.encode(':\n\n')), 25_000)
        signal?.addEventListener('abort', () => {
          clearInterval(comments)
          if (this.#streams.delete(send)) c.error(signal.reason)
        })
        if (this.sse === 'silent') return this.#streams.delete(send)
        send('hello', { hello: { session: 's', ping_ms: 25_000 } })
        send('subscribed', { subscribed: this.heads(feeds) })
      },
    })
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  get streams(): number {
    return this.#streams.size
  }

  heads(feeds: Iterable<string>): Record<string, string> {
    return Object.fromEntries([...feeds].map((f) => [f, this.feeds.get(f)?.head ?? '']))
  }

  #wait(ms: number, signal?: AbortSignal | null): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const timer = setTimeout(resolve, ms)
      signal?.addEventListener('abort', () => {
        clearTimeout(timer)
        reject(signal.reason)
      })
    })
  }

  /** The WebSocket of this server's network. */
  socketClass(): typeof WebSocket {
    const server = this
    return class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(server, url, protocols)
      }
    } as unknown as typeof WebSocket
  }
}

export class FakeSocket {
  readyState = 0
  onopen: (() => void) | undefined
  onmessage: ((e: { data: string }) => void) | undefined
  onclose: ((e: { code: number; reason: string }) => void) | undefined
  feeds = new Set<string>()
  commands: any[] = []
  /** Does not answer any more, and is not closed either. */
  dead = false

  constructor(readonly server: FakeServer, readonly url: string, readonly protocols: string[]) {
    setTimeout(() => this.#open(), server.latency)
  }

  #open(): void {
    if (this.readyState === 3) return
    if (this.server.down || this.server.websocket === 'refused') return this.drop(1006)
    if (this.server.websocket === 'silent') return
    this.readyState = 1
    this.server.sockets.push(this)
    this.onopen?.()
    const token = this.protocols[1]?.slice(7)
    if (this.server.tokens && (!token || !this.server.tokens.has(token))) return this.drop(4001, 'token')
    this.receive({ hello: { session: 's', ping_ms: 25_000 } })
    if (this.server.degraded) this.receive({ degraded: true })
  }

  send(text: string): void {
    const c = JSON.parse(text)
    this.commands.push(c)
    if (this.dead) return
    setTimeout(() => {
      if (this.readyState !== 1) return
      if (c.subscribe) {
        for (const f of Object.keys(c.subscribe)) this.feeds.add(f)
        this.receive({ subscribed: this.server.heads(Object.keys(c.subscribe)) })
      }
      for (const f of c.unsubscribe ?? []) this.feeds.delete(f)
      if (c.ping) this.receive({ pong: c.ping })
      if (c.auth && this.server.tokens && !this.server.tokens.has(c.auth)) this.drop(4001, 'token')
    }, this.server.latency)
  }

  receive(message: object): void {
    if (!this.dead && this.readyState === 1) setTimeout(() => this.readyState === 1 && this.onmessage?.({ data: JSON.stringify(message) }), this.server.latency)
  }

  drop(code: number, reason = ''): void {
    this.readyState = 3
    this.server.sockets = this.server.sockets.filter((s) => s !== this)
    setTimeout(() => this.onclose?.({ code, reason }))
  }

  close(): void {
    if (this.readyState !== 3) this.drop(1005)
  }
}

function json(status: number, body: object, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } })
}
