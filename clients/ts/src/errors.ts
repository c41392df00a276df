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
  override name = 'DoorbellError'
  constructor(
    readonly code: string,
    message: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status = 0,
    /** How long the server asks to be left alone, in ms; 0 when it doesn't. */
    readonly retryAfter = 0,
    /** Of a `reset`: the URL of the snapshot to go on from. */
    readonly snapshot = '',
  ) {
    super(message)
  }
}

/** Makes any thrown thing a DoorbellError; what fetch throws is `network`. */
export function asError(e: unknown): DoorbellError {
  return e instanceof DoorbellError ? e : new DoorbellError('network', e instanceof Error ? e.message : String(e))
}
