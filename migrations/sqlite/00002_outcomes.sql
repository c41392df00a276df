-- +goose Up
-- What became of writes that came with an Idempotency-Key; each row is committed with its write.
CREATE TABLE outcomes (
    id      BLOB    PRIMARY KEY, -- SHA-256 of who wrote, where to, and their key
    digest  BLOB    NOT NULL, -- SHA-256 of what they asked for
    answer  BLOB    NOT NULL, -- what they were told, byte for byte
    made_at INTEGER NOT NULL -- Unix milliseconds
) STRICT, WITHOUT ROWID;

-- What retention looks for.
CREATE INDEX outcomes_made_at ON outcomes (made_at);

-- +goose Down
DROP TABLE outcomes;
