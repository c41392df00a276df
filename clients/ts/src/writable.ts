import { compare, type Cursor } from './cursor.js'
import { Feed } from './feed.js'
import type { Pending } from './replica.js'
import type { Abortable, Write } from './types.js'
import { send } from './write.js'

/** A feed that can be written as well. What is written is seen at once, in all tabs once the server has it. */
export class WritableFeed<T = unknown> extends Feed<T> {
  #last: Promise<unknown> = Promise.resolve()

  /** Puts one item; see {@link write}. */
  put(key: string, value: T, options: Abortable & { if?: string } = {}): Promise<string> {
    return this.write([{ key, value, ...condition(options) }], options)
  }

  /** Deletes one item; see {@link write}. */
  delete(key: string, options: Abortable & { if?: string } = {}): Promise<string> {
    return this.write([{ key, deleted: true, ...condition(options) }], options)
  }

  /**
   * Writes up to 1,000 changes, all or none, in the order of the calls. They are seen in `items` at once, and taken back if the
   * server refuses them. While it can't be reached, the write waits and is tried again, and happens once however often it is sent.
   * Gives the cursor after it. Rejects with a DoorbellError, or with the signal's reason: then it may have happened.
   */
  async write(changes: readonly Write<T>[], { signal }: Abortable = {}): Promise<string> {
    const pending = changes.map((c): Pending => ({ key: c.key, value: 'value' in c ? c.value : undefined, deleted: 'deleted' in c }))
    for (const p of pending) this.replica.overlay(p)
    this.emit(pending.map((p) => p.key), false)
    const turn = this.#last.then(() => send(this.host, this.name, changes, signal))
    this.#last = turn.catch(() => 0)
    try {
      const { cursor, first } = await turn
      if (this.#adopt(cursor, first, pending)) return cursor.text
      if (this.following && compare(cursor, this.replica.from) > 0) {
        this.confirmed.push({ at: cursor, pending })
        this.puller.expect(cursor)
      } else {
        this.#settle(pending)
      }
      return cursor.text
    } catch (e) {
      this.#settle(pending)
      throw e
    }
  }

  /** An own write that follows at once on what is here need not be read. */
  #adopt(to: Cursor, first: number, pending: Pending[]): boolean {
    const { from, have, trims } = this.replica
    const next = from === have && first === from.seq + 1 && (from.text ? from.epoch === to.epoch : this.puller.loaded)
    // A feed that is trimmed may have lost items to this write; and what was no change has no seq.
    if (!next || trims || to.seq - first + 1 !== pending.length) return false
    const changes = pending.map((p, i) => ({ key: p.key, seq: first + i, value: p.value, deleted: p.deleted }))
    for (const p of pending) this.replica.settle(p)
    const page = { since: from, cursor: to, more: false, trimmed: 0, changes }
    this.puller.offer(page)
    this.host.share(this, page)
    return true
  }

  #settle(pending: Pending[]): void {
    for (const p of pending) this.replica.settle(p)
    this.emit(pending.map((p) => p.key), false)
  }
}

const condition = (o: { if?: string }) => (o.if === undefined ? {} : { if: o.if })
