// Requests: tokens, credentials, and problems instead of statuses.

import { DoorbellError, asError } from './errors.js'

/** Gives the current token; `refused` is the one that the server no longer takes, or soon won't. undefined: nobody is signed in. */
export type GetToken = (refused?: string) => string | undefined | Promise<string | undefined>

export interface HttpOptions {
  getToken?: GetToken | undefined
  credentials?: RequestCredentials | undefined
  publicNamespaces?: readonly string[] | undefined
}

export interface Received {
  header: Headers
  body: any
}

export interface Http {
  /** The server's URL, without a slash at its end. */
  readonly base: string
  /** The token in use. Ask with the one that was refused to get another. */
  token(refused?: string): Promise<string | undefined>
  /**
   * Reads a path of a feed. Of a namespace that is known to be public, the request is bare: no token, no cookies, no header that
   * would need a preflight. Known are those of `publicNamespaces`, and those whose answers said so.
   */
  read(feed: string, path: string, signal: AbortSignal): Promise<Received>
  /** Sends JSON. */
  post(path: string, body: unknown, signal?: AbortSignal, headers?: Record<string, string>): Promise<Received>
  /** fetch with the token, and once more with a new one after a 401. Throws a problem for every status that is not 2xx. */
  fetch(path: string, init: RequestInit, bare?: boolean): Promise<Response>
}

/** In ms, where nothing else is said. An enum, because it is inlined. */
const enum Bound {
  /** In ms; longer than a long poll is held. */
  requestTimeout = 30_000,
}

export const createHttp = (url: string, { getToken, credentials = 'same-origin', publicNamespaces }: HttpOptions): Http => {
  const base = url.replace(/\/+$/, '')
  const open = new Set(publicNamespaces)
  let current: Promise<string | undefined> | undefined

  /** Sends a request and reads the JSON of its answer. Throws a DoorbellError, or the signal's reason if that ended it. */
  const send = async (path: string, init: RequestInit, bare = false): Promise<Received> => {
    const limit = AbortSignal.timeout(Bound.requestTimeout)
    try {
      const response = await http.fetch(path, { ...init, signal: AbortSignal.any([init.signal ?? limit, limit]) }, bare)
      return { header: response.headers, body: await response.json() }
    } catch (e) {
      init.signal?.throwIfAborted()
      throw asError(e)
    }
  }

  const http: Http = {
    base,
    async token(refused) {
      if (!getToken) return
      const ask = async () => getToken(refused)
      current = refused === undefined ? (current ?? ask()) : current!.then((t) => (t === refused ? ask() : t), ask)
      current.catch(() => (current = undefined))
      return current
    },
    async read(feed, path, signal) {
      const namespace = feed.split(':')[0]!
      const answer = await send(path, { signal }, open.has(namespace))
      if (/\bpublic\b/.test(answer.header.get('Cache-Control')!)) open.add(namespace)
      return answer
    },
    post: (path, body, signal, headers) => send(path, {
      method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', ...headers }, signal: signal!,
    }),
    async fetch(path, init, bare) {
      const token = bare ? undefined : await http.token()
      const ask = (token?: string) => fetch(base + path, {
        ...init,
        credentials: bare ? 'omit' : credentials,
        headers: { ...init.headers, ...(token && { Authorization: 'Bearer ' + token }) },
      })
      let response = await ask(token)
      if (response.status === 401 && token !== undefined) {
        void response.body?.cancel()
        response = await ask(await http.token(token))
      }
      if (response.ok) return response
      // Some proxy's own page has no code: `http_<status>`.
      const body = await response.json().catch(() => ({}))
      throw problem({ ...body, status: response.status }, secondsToMs(response.headers.get('Retry-After')))
    },
  }
  return http
}

/** A problem as it stands in a body. */
export const problem = ({ status, code, detail, snapshot }: Record<string, any>, retryAfter = 0): DoorbellError =>
  new DoorbellError(code ?? 'http_' + status, detail ?? '', status, retryAfter, snapshot)

/** A header in seconds, as ms; 0: not there, or nonsense. */
export const secondsToMs = (header: string | null): number => Math.max(0, Math.min(+header!, 3600) * 1000 || 0)
