import { compareCursors, isWalk, parseCursor, sameEpoch } from "./cursor.js";

// A client's copy of one feed: its items and the cursor that says how far they go.
//
// A snapshot of several pages is built aside and takes the old items' place once it is whole, so that a reader never
// sees half a feed after a reset.

export class Replica {
  constructor() {
    this.items = new Map(); // key -> {key, seq, value}
    this.cursor = "";
    this.draft = null; // {items, cursor} of a snapshot that is still being walked
  }

  /** Where the next delta has to start: the walk's place while there is one. */
  get position() {
    return this.draft ? this.draft.cursor : this.cursor;
  }

  /**
   * Takes a snapshot's first (or only) page. False when it is older than what is here: a cache may hand out one that
   * was right a moment ago.
   */
  applySnapshot(page) {
    if (!parseCursor(page.cursor) || compareCursors(page.cursor, this.cursor) < 0) return false;
    const items = new Map();
    for (const item of page.items ?? []) items.set(item.key, item);
    this.#land(items, page);
    return true;
  }

  /**
   * Takes a delta, or a further page of a walk. False unless it starts exactly where this copy stands and leads on
   * from there: a page that promises more but stays in place would be asked for without end.
   */
  applyDelta(page) {
    if (page.since !== this.position || !sameEpoch(page.cursor, page.since)) return false;
    if (compareCursors(page.cursor, page.since) < (page.more ? 1 : 0)) return false;
    const items = this.draft ? this.draft.items : this.items;
    for (const change of page.changes ?? []) {
      if (change.deleted) items.delete(change.key);
      else items.set(change.key, change);
    }
    this.#land(items, page);
    return true;
  }

  /** Forgets the place but not the items: they stay on screen until the snapshot that replaces them has landed. */
  reset() {
    this.cursor = "";
    this.draft = null;
  }

  /** The feed does not exist. */
  clear() {
    this.reset();
    this.items = new Map();
  }

  #land(items, page) {
    if (page.trimmed) {
      for (const [key, item] of items) if (item.seq <= page.trimmed) items.delete(key);
    }
    if (page.more && (isWalk(page.cursor) || this.draft)) {
      this.draft = { items, cursor: page.cursor };
      return;
    }
    this.draft = null;
    this.items = items;
    this.cursor = page.cursor;
  }
}

/** Whether moving from one cursor to another needs a snapshot, since no delta leads from one epoch to the next. */
export function needsSnapshot(from, to) {
  return from === "" || (to !== "" && !sameEpoch(from, to));
}
