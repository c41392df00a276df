/**
 * Feeds that outlive a reload, in IndexedDB: what was seen last is shown at once, then comes what has changed.
 *
 * @packageDocumentation
 */
import { checkCursor } from './cursor.js'
import type { Feed } from './feed.js'
import type { Change } from './page.js'
import type { Persistence } from './types.js'

export interface IndexedDBOptions {
  /** The database. Use one for each user, and {@link clearPersistence} when somebody signs out. Default: `doorbell` */
  name?: string
  /** How long changes are collected before they are kept, in ms. Default: 1,000 */
  every?: number
}

/** How long what was kept may take to load before the feed is read without it, in ms. */
const loadWithin = 500

interface Kept {
  feed: string
  cursor: string
  trimmed: number
}
type Row = Change & { feed: string }

/**
 * Keeps feeds in IndexedDB. Where that fails (private windows, full disks) nothing is kept and nothing breaks.
 *
 * ```ts
 * const db = createDoorbell({ url: '', persistence: indexedDBPersistence() })
 * ```
 */
export function indexedDBPersistence({ name = 'doorbell', every = 1_000 }: IndexedDBOptions = {}): Persistence {
  let opened: Promise<IDBDatabase> | undefined
  return async (feed) => {
    const db = await (opened ??= open(name))
    const load = restore(db, feed)
    await Promise.race([load, new Promise((resolve) => setTimeout(resolve, loadWithin))])
    keep(db, feed, every)
  }
}

/** Forgets all that was kept under that name. */
export function clearPersistence(name = 'doorbell'): Promise<void> {
  return done(indexedDB.deleteDatabase(name)).then(() => undefined)
}

function open(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1)
  request.onupgradeneeded = () => {
    request.result.createObjectStore('feeds', { keyPath: 'feed' })
    request.result.createObjectStore('items', { keyPath: ['feed', 'key'] })
  }
  return done(request).then((db) => {
    db.onversionchange = () => db.close()
    return db
  })
}

async function restore(db: IDBDatabase, feed: Feed<any>): Promise<void> {
  const t = db.transaction(['feeds', 'items'])
  const [kept, rows] = await Promise.all([
    done<Kept | undefined>(t.objectStore('feeds').get(feed.name)),
    done<Row[]>(t.objectStore('items').getAll(all(feed.name))),
  ])
  if (!kept) return
  const changes = rows.map(({ key, seq, value }) => ({ key, seq, value }))
  feed.puller.restore({ since: '', cursor: checkCursor(kept.cursor), more: false, trimmed: kept.trimmed, changes })
}

/** Cursor and items change in one transaction, so what is kept is always a state that there was. */
function keep(db: IDBDatabase, feed: Feed<any>, every: number): void {
  let unsaved: Set<string> | undefined
  let whole = !feed.cursor // nothing was restored, so whatever lies there is void
  const save = () => {
    const keys = unsaved
    unsaved = undefined
    const page = feed.replica.snapshot()
    if (!keys || !page) return
    const t = db.transaction(['feeds', 'items'], 'readwrite')
    const items = t.objectStore('items')
    if (whole) items.delete(all(feed.name))
    const rows = new Map(page.changes.map((c) => [c.key, c]))
    for (const key of whole ? rows.keys() : keys) {
      const row = rows.get(key)
      if (row) items.put({ ...row, feed: feed.name } satisfies Row)
      else items.delete([feed.name, key])
    }
    whole = false
    t.objectStore('feeds').put({ feed: feed.name, cursor: page.cursor, trimmed: page.trimmed } satisfies Kept)
  }
  feed.observe(({ keys }) => {
    if (!unsaved) {
      unsaved = new Set()
      setTimeout(save, every)
    }
    for (const key of keys) unsaved.add(key)
  })
}

/** All keys of a feed. */
const all = (feed: string) => IDBKeyRange.bound([feed], [feed, []])

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
