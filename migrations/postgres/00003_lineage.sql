-- Which history of the database the feeds' heads are of: one row. Where the database writes another one (it was restored, or
-- a replica was promoted) it may lack commits that clients have seen, and no feed is written until those concerned have new
-- epochs and the row names the present history.

-- +goose Up
CREATE TABLE lineage (
    one       BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    system_id TEXT NOT NULL, -- of system_id(); '': of none, until somebody has looked after the feeds
    -- how often the database was found to have gone back although it names the same history, as a copy of its files does
    gone_back BIGINT NOT NULL DEFAULT 0
);

-- "<system identifier>.<timeline>". The timeline is that of the log being written, because the control file's lags behind a
-- promotion. A standby has none, and an error it is.
-- +goose StatementBegin
CREATE FUNCTION system_id() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT system_identifier || '.' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) FROM pg_control_system()
$$;
-- +goose StatementEnd
INSERT INTO lineage (system_id) VALUES (system_id());

-- Whoever writes a feed, in whatever way, leaves the transaction's id, and is refused while the history is another one: here,
-- so that no connection of any age gets around it. Only who gives out new epochs may (doorbell.renewing).
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION feeds_stamp() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    NEW.xid := pg_current_xact_id();
    IF (SELECT system_id FROM lineage) IS DISTINCT FROM system_id()
        AND current_setting('doorbell.renewing', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'the database has been rewound: it writes another history than the feeds are of'
            USING ERRCODE = 'DBRWD';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION feeds_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
-- +goose StatementEnd
DROP FUNCTION system_id();
DROP TABLE lineage;
