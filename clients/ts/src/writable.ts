import { epochOf, newer, seqOf, type Cursor } from './cursor.js'
import type { Feed } from './feed.js'
import type { Abortable, Write } from './types.js'
import { send } from './write.js'

/** A feed that can be written as well. What is written is seen at once, in all tabs once the server has it. */
export interface Writes<T = unknown> {
  /** The cursor of an item's latest change, for the `if` of a write; '' when there is no such item. */
  cursorOf(key: string): string
  /** Puts one item; see {@link write}. */
  put(key: string, value: T, options?: Abortable & { if?: string }): Promise<string>
  /** Deletes one item; see {@link write}. */
  delete(key: string, options?: Abortable & { if?: string }): Promise<string>
  /**
   * Writes up to 1,000 changes, all or none, in the order of the calls. They are seen in `items` at once, and taken back if the
   * server refuses them. While it can't be reached, the write waits and is tried again, and happens once however often it is sent.
   * Gives the cursor after it. Rejects with a DoorbellError, or with the signal's reason: then it may have happened.
   */
  write(changes: readonly Write<T>[], options?: Abortable): Promise<string>
}

/** An optimistic write that lies over the server's state. */
interface Pending {
  readonly key: string
  readonly value: unknown
  readonly deleted: boolean
}

/** Adds writes to a feed. */
export function writable<F extends Feed<any>>(feed: F): F & Writes<any> {
  const { replica, puller, host } = feed
  const laid = new Set<Pending>()
  const woken = new Set<() => void>() // called when the machine woke or the network is back
  const { wake } = puller
  puller.wake = () => {
    for (const f of woken) f()
    wake()
  }
  let confirmed: { at: Cursor; pending: Pending[] }[] = [] // written, and not yet part of what was read
  let last: Promise<unknown> = Promise.resolve()

  const lay = () => {
    for (const { key, value, deleted } of laid) {
      if (deleted) replica.items.delete(key)
      else replica.items.set(key, value)
    }
  }
  const show = (pending: Pending[]) => {
    replica.show(pending.map((p) => p.key))
    lay()
  }
  const settle = (pending: Pending[]) => {
    for (const p of pending) laid.delete(p)
    show(pending)
  }
  feed.lay = (keys) => {
    confirmed = confirmed.filter(({ at, pending }) => {
      if (newer(at, replica.have)) return true
      settle(pending)
      for (const p of pending) keys.add(p.key)
      return false
    })
    lay()
  }

  /** An own write that follows at once on what is here need not be read. */
  const adopt = (to: Cursor, first: number, pending: Pending[]): boolean => {
    const { from, have, trimmed } = replica
    const next = from === have && first === seqOf(from) + 1 && (from ? epochOf(from) === epochOf(to) : puller.loaded)
    // A feed that is trimmed may have lost items to this write; and what was no change has no seq.
    if (!next || trimmed || seqOf(to) - first + 1 !== pending.length) return false
    for (const p of pending) laid.delete(p)
    const page = { since: from, cursor: to, more: false, trimmed: 0, changes: pending.map((p, i) => ({ ...p, seq: first + i })) }
    puller.offer(page)
    host.share(feed, page)
    return true
  }

  const write: Writes['write'] = async (changes, { signal } = {}) => {
    const pending = changes.map((c): Pending => ({ key: c.key, value: 'value' in c ? c.value : undefined, deleted: 'deleted' in c }))
    const emit = () => feed.emit(pending.map((p) => p.key), false)
    for (const p of pending) laid.add(p)
    show(pending)
    emit()
    const turn = last.then(() => send(host.http, woken, feed.name, changes, signal))
    last = turn.catch(() => 0)
    try {
      const { cursor, first } = await turn
      if (adopt(cursor, first, pending)) return cursor
      if (puller.active && newer(cursor, replica.from)) {
        confirmed.push({ at: cursor, pending })
        puller.expect(cursor)
      } else {
        settle(pending)
        emit()
      }
      return cursor
    } catch (e) {
      settle(pending)
      emit()
      throw e
    }
  }

  return Object.assign(feed, {
    write,
    put: (key, value, options = {}) => write([{ key, value, ...condition(options) }], options),
    delete: (key, options = {}) => write([{ key, deleted: true, ...condition(options) }], options),
    cursorOf(key) {
      const row = replica.rows.get(key)
      return row ? `${epochOf(replica.have)}-${row.seq}` : ''
    },
  } satisfies Writes<any>)
}

const condition = (o: { if?: string }) => (o.if === undefined ? {} : { if: o.if })
