import { checkCursor, type Cursor } from './cursor.js'
import { DoorbellError, asError } from './errors.js'
import type { Http } from './http.js'
import { createBackoff } from './pace.js'

/** Statuses after which the same write may still succeed. 0: there was no answer. */
const passing = [0, 408, 409, 425, 429, 502, 503, 504]

/**
 * Sends one write until it is answered, with one Idempotency-Key, so that it happens once. Throws what the server
 * refused it with, or the signal's reason.
 */
export async function send(
  http: Http,
  woken: Set<() => void>,
  feed: string,
  changes: readonly object[],
  signal?: AbortSignal,
): Promise<{ cursor: Cursor; first: number }> {
  const key = randomKey()
  for (const backoff = createBackoff(); ; ) {
    signal?.throwIfAborted()
    try {
      const { body } = await http.post(`/v1/feeds/${feed}/changes`, { changes }, signal, { 'Idempotency-Key': key })
      const { cursor, first } = body as { cursor?: string; first?: number }
      if (cursor === undefined) throw new DoorbellError('bad_answer', 'the answer is not that of a write')
      return { cursor: checkCursor(cursor), first: first ?? 0 }
    } catch (e) {
      signal?.throwIfAborted()
      const error = asError(e)
      const again = passing.includes(error.status) && error.code !== 'bad_answer'
      if (!again) throw error
      await pause(woken, Math.max(backoff.next(), error.retryAfter), signal)
    }
  }
}

/** crypto.randomUUID is there on secure origins only. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('')
}

/** Waits so many ms, or until the machine woke or the network is back. Rejects with the signal's reason. */
function pause(woken: Set<() => void>, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (f: () => void) => {
      clearTimeout(timer)
      woken.delete(resume)
      signal?.removeEventListener('abort', abort)
      f()
    }
    const resume = () => end(resolve)
    const abort = () => end(() => reject(signal!.reason))
    const timer = setTimeout(resume, ms)
    woken.add(resume)
    signal?.addEventListener('abort', abort)
  })
}
