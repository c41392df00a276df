-- Which file the feeds were last written in: one row. In another one they may be those of a backup, and get new epochs when
-- it is opened.

-- +goose Up
CREATE TABLE lineage (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    file TEXT NOT NULL -- what the file system calls it
) STRICT;

-- +goose Down
DROP TABLE lineage;
