// What runs in each runtime: follows a feed, writes to it, stops, and says what it saw. WHATWG APIs only, but for the arguments.

import { createDoorbell } from '../../src/index.js'

declare const Deno: { args: string[] } | undefined
const [url = '', name = ''] = typeof Deno === 'undefined' ? process.argv.slice(2) : Deno.args

const say = (what: object) => console.log(JSON.stringify(what))
const db = createDoorbell({ url })
const feed = db.feed<number>(name)
await feed.ready()
say({ first: feed.get('x') })

const stop = new AbortController()
const live = () => feed.status.state === 'live' && say({ live: feed.status.transport })
feed.onStatus(live, { signal: stop.signal })
live()
for await (const _ of feed.changes({ signal: stop.signal })) {
  say({ x: feed.get('x') })
  if (feed.get('x') === 2 && feed.get('y') === undefined) await feed.put('y', 3)
  if (feed.get('x') === 4) stop.abort()
}
const refused = await feed.ready({ signal: stop.signal }).catch((e: Error) => e.name)
db.close()
// Nothing is left that would keep the runtime alive.
say({ end: refused })
