// The page under test: it follows one feed and says what it sees.

import { createDoorbell, type Doorbell, type WritableFeed } from '../../src/index.js'
import { indexedDBPersistence } from '../../src/persist.js'
import type { Seen } from '../harness/browser.js'

declare global {
  interface Window {
    follow(feed: string, options?: { tabs?: string | false; persist?: boolean; tokens?: string[]; transports?: never[] }): void
    see(): Seen
    db: Doorbell
    feed: WritableFeed<any>
    tokensAsked: number
  }
}

window.follow = (name, { persist, tokens, ...options } = {}) => {
  window.tokensAsked = 0
  window.db = createDoorbell({
    url: '',
    tabs: false,
    ...options,
    ...(persist && { persistence: indexedDBPersistence() }),
    ...(tokens && { getToken: () => tokens[Math.min(window.tokensAsked++, tokens.length - 1)]! }),
  })
  window.feed = window.db.feed(name)
  window.feed.subscribe(() => {})
}

window.see = () => {
  const { feed, db } = window
  const { state, transport, error, staleSince } = feed.status
  return { items: Object.fromEntries(feed.items), cursor: feed.cursor, state, transport, leads: db.leads, error: error ? `${error.code}: ${error.message}` : '', staleSince }
}
