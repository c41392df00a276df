/**
 * What went wrong, with a stable `code`: the server's own (`forbidden`, `too_large`, `reset` …), or one of the client's:
 *
 * | code | meaning |
 * | --- | --- |
 * | `network` | no answer: offline, refused, timed out |
 * | `bad_answer` | something that isn't Doorbell answered, such as a portal's page |
 * | `wrong_answer` | an answer to another question: a cache or a proxy that drops query strings |
 * | `reset_loop` | three resets within 10 s; the feed rests for 15 to 30 s |
 * | `silent` | a connection that brings nothing: a proxy that buffers, or a dead peer |
 */
export class DoorbellError extends Error {
  declare readonly code: string
  /** HTTP status; 0 when there was no answer. */
  declare readonly status: number
  /** How long the server asks to be left alone, in ms; 0 when it doesn't. */
  declare readonly retryAfter: number
  /** Of a `reset`: the URL of the snapshot to go on from. */
  declare readonly snapshot: string

  constructor(code: string, message: string, status = 0, retryAfter = 0, snapshot = '') {
    super(message)
    Object.assign(this, { name: 'DoorbellError', code, status, retryAfter, snapshot })
  }
}

/** What isn't Doorbell's answer. */
export const badAnswer = (kind: string): DoorbellError => new DoorbellError('bad_answer', `no ${kind}: is this Doorbell?`)

/** Nothing came for so long that nothing will. */
export const silent = (): DoorbellError => new DoorbellError('silent', 'no answer')

/** Makes any thrown thing a DoorbellError: what JSON can't read is `bad_answer`, and what fetch throws is `network`. */
export const asError = (e: unknown): DoorbellError => {
  return e instanceof DoorbellError ? e
    : e instanceof SyntaxError ? badAnswer('JSON')
    : new DoorbellError('network', String(e))
}
