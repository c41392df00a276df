/**
 * Doorbell without writes, for pages that only show: the smallest there is.
 *
 * @packageDocumentation
 */
import { Doorbell } from './doorbell.js'
import { Feed } from './feed.js'
import type { DoorbellOptions } from './types.js'

/** As `createDoorbell` of `@doorbell/client`; its feeds can't be written. */
export function createDoorbell(options: DoorbellOptions): Doorbell {
  return new Doorbell(options, (name, host) => new Feed(name, host))
}

export { Doorbell, Feed }
export { DoorbellError } from './errors.js'
export type { Link, Transport } from './ladder.js'
export type { GetToken } from './http.js'
export type { Abortable, DoorbellOptions, FeedChange, FeedStatus, Persistence, Signal } from './types.js'
