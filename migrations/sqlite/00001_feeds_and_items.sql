-- +goose Up
CREATE TABLE feeds (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    namespace  TEXT    NOT NULL, -- the name's part before the first ':'
    epoch      INTEGER NOT NULL, -- tenths of a second since 2020-01-01 UTC
    head       INTEGER NOT NULL, -- seq of the newest committed change
    floor      INTEGER NOT NULL, -- highest seq of a purged tombstone
    trimmed    INTEGER NOT NULL, -- highest seq dropped for max_items
    items      INTEGER NOT NULL, -- live items
    changed_at INTEGER NOT NULL  -- Unix milliseconds
) STRICT;

-- One row per key: its latest change. The row of a deleted item is its tombstone.
CREATE TABLE items (
    feed_id    INTEGER NOT NULL REFERENCES feeds (id),
    key        TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    deleted    INTEGER NOT NULL,
    value      TEXT, -- JSON as it came, byte for byte; NULL in a tombstone
    changed_at INTEGER NOT NULL, -- Unix milliseconds
    PRIMARY KEY (feed_id, key)
) STRICT;

-- Each row is in one of these two, so that neither a snapshot nor a trim wades through tombstones.
CREATE UNIQUE INDEX items_live ON items (feed_id, seq) WHERE NOT deleted;
CREATE UNIQUE INDEX items_dead ON items (feed_id, seq) WHERE deleted;
-- What retention looks for.
CREATE INDEX items_dead_by_time ON items (changed_at) WHERE deleted;

-- +goose Down
DROP TABLE items;
DROP TABLE feeds;
