-- +goose Up
-- What became of writes that came with an Idempotency-Key; each row is committed with its write.
CREATE TABLE outcomes (
    id      BYTEA  PRIMARY KEY, -- SHA-256 of who wrote, where to, and their key
    digest  BYTEA  NOT NULL, -- SHA-256 of what they asked for
    answer  BYTEA  NOT NULL, -- what they were told, byte for byte
    made_at BIGINT NOT NULL -- Unix milliseconds
)
-- Each row is deleted after a day.
WITH (autovacuum_vacuum_scale_factor = 0.05);

-- What retention looks for.
CREATE INDEX outcomes_made_at ON outcomes (made_at);

-- +goose Down
DROP TABLE outcomes;
