// Requests: tokens, credentials, and problems instead of statuses.

import { DoorbellError, asError } from './errors.js'

/** Gives the current token; `refused` is the one that the server no longer takes, or soon won't. undefined: nobody is signed in. */
export type GetToken = (refused?: string) => string | undefined | Promise<string | undefined>

export interface HttpOptions {
  url: string
  getToken?: GetToken | undefined
  credentials: RequestCredentials
  publicNamespaces?: readonly string[] | undefined
}

export interface Answer {
  header: Headers
  body: unknown
}

const namespaceOf = (feed: string) => feed.split(':', 1)[0]!

const requestTimeout = 30_000

/** Ends with the first of the signals that does, or after so many ms. */
export function within(ms: number, signal?: AbortSignal | null): AbortSignal {
  const limit = AbortSignal.timeout(ms)
  return signal ? AbortSignal.any([signal, limit]) : limit
}

export class Http {
  readonly base: string
  readonly #options: HttpOptions
  readonly #public: Set<string>
  #token: Promise<string | undefined> | undefined

  constructor(options: HttpOptions) {
    this.#options = options
    this.base = options.url.replace(/\/+$/, '')
    this.#public = new Set(options.publicNamespaces)
  }

  /** The token in use. Ask with the one that was refused to get another. */
  token(refused?: string): Promise<string | undefined> {
    const { getToken } = this.#options
    if (!getToken) return Promise.resolve(undefined)
    const ask = async () => getToken(refused)
    this.#token = refused === undefined ? (this.#token ?? ask()) : this.#token!.then((t) => (t === refused ? ask() : t), ask)
    this.#token.catch(() => (this.#token = undefined))
    return this.#token
  }

  /**
   * Reads a path of a feed. Of a namespace that is known to be public, the request is bare: no token, no cookies, no header that
   * would need a preflight. Known are those of `publicNamespaces`, and those whose answers said so.
   */
  async read(feed: string, path: string, signal?: AbortSignal): Promise<Answer> {
    const namespace = namespaceOf(feed)
    if (this.#public.has(namespace)) return this.send(path, { signal: signal ?? null, credentials: 'omit' }, false)
    const answer = await this.send(path, { signal: signal ?? null })
    if (/\bpublic\b/.test(answer.header.get('Cache-Control') ?? '')) this.#public.add(namespace)
    return answer
  }

  /** Sends JSON. */
  post(path: string, body: unknown, signal?: AbortSignal, headers?: Record<string, string>, timeout?: number): Promise<Answer> {
    const json = { 'Content-Type': 'application/json', ...headers }
    return this.send(path, { method: 'POST', body: JSON.stringify(body), headers: json, signal: signal ?? null }, true, timeout)
  }

  /** Sends a request and reads the JSON of its answer. Throws a DoorbellError, or the signal's reason if that ended it. */
  async send(path: string, init: RequestInit, withToken = true, timeout = requestTimeout): Promise<Answer> {
    const limited = { ...init, signal: within(timeout, init.signal) }
    try {
      const response = await this.fetch(path, limited, withToken)
      if (!response.ok) throw await problemOf(response)
      const text = await response.text()
      return { header: response.headers, body: text ? parseJSON(text) : {} }
    } catch (e) {
      init.signal?.throwIfAborted()
      throw asError(e)
    }
  }

  /** fetch with the token, and once more with a new one after a 401. */
  async fetch(path: string, init: RequestInit, withToken = true): Promise<Response> {
    for (let token = withToken ? await this.token() : undefined, again = token !== undefined; ; again = false) {
      const headers = new Headers(init.headers)
      if (token) headers.set('Authorization', 'Bearer ' + token)
      const response = await fetch(this.base + path, { credentials: this.#options.credentials, ...init, headers })
      if (response.status !== 401 || !again) return response
      void response.body?.cancel()
      token = await this.token(token)
    }
  }
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new DoorbellError('bad_answer', 'the answer is not JSON: is there something else at this address?')
  }
}

/** Reads an error's body. Some proxy's own page has no code: `http_<status>`. */
export async function problemOf(response: Response): Promise<DoorbellError> {
  let p: { code?: string; detail?: string; snapshot?: string } = {}
  try {
    p = (await response.json()) as typeof p
  } catch {
    // not Doorbell's
  }
  return problem({ ...p, status: response.status }, secondsToMs(response.headers.get('Retry-After')))
}

/** A problem as it stands in a body. */
export function problem(
  p: { status?: number; code?: string; detail?: string; snapshot?: string; retry_after?: number },
  retryAfter = 0,
): DoorbellError {
  const status = p.status ?? 0
  return new DoorbellError(p.code ?? 'http_' + status, p.detail ?? 'the server answered ' + status, status, retryAfter, p.snapshot)
}

/** A header in seconds, as ms; 0: not there, or nonsense. */
export function secondsToMs(header: string | null): number {
  const seconds = Number(header ?? 0)
  return seconds > 0 ? Math.min(seconds, 3600) * 1000 : 0
}
