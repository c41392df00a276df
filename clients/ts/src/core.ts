/**
 * The core: feeds that are shown and kept fresh over four transports, in all tabs. What a feed can do besides (writes, sequences,
 * signals alone) is in `@doorbell/client`, or `@doorbell/client/signal`.
 *
 * @packageDocumentation
 */
import { connect, type Doorbell } from './doorbell.js'
import type { DoorbellOptions } from './types.js'

/** As `createDoorbell` of `@doorbell/client`; its feeds can be shown. */
export function createDoorbell(options: DoorbellOptions): Doorbell {
  return connect(options, (feed) => feed)
}

export { DoorbellError } from './errors.js'
export type { Doorbell } from './doorbell.js'
export type { Feed } from './feed.js'
export type { Link, Transport } from './ladder.js'
export type { GetToken } from './http.js'
export type { Abortable, DoorbellOptions, FeedChange, FeedStatus, Persistence } from './types.js'
