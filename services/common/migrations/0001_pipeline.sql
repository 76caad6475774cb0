-- The pipeline's tables. Applied once, in order, under an advisory lock (services/common/schema.py).

CREATE TABLE payments (
    transaction_id   uuid PRIMARY KEY,
    occurred_at      timestamp NOT NULL,             -- the event's own Timestamp: no zone is given, none is made up
    sender_name      text NOT NULL,
    sender_upi_id    text NOT NULL,
    receiver_name    text NOT NULL,
    receiver_upi_id  text NOT NULL,
    amount_inr       numeric NOT NULL CHECK (amount_inr > 0),
    status           text NOT NULL CHECK (status IN ('SUCCESS', 'FAILED')),
    canonical        bytea NOT NULL,                 -- exactly what is signed and delivered
    accepted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted_by      text NOT NULL
);
CREATE INDEX payments_accepted_at ON payments (accepted_at);

-- One row per payment; its bytes lie in payments, so that claiming and marking rewrite narrow rows.
CREATE TABLE outbox_events (
    transaction_id   uuid PRIMARY KEY,
    sequence         bigint GENERATED ALWAYS AS IDENTITY,   -- roughly the order of arrival; never used as a cursor
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_by       text,
    claimed_until    timestamptz,
    published_at     timestamptz,
    published_by     text,
    kafka_partition  integer,
    kafka_offset     bigint,
    republished      integer NOT NULL DEFAULT 0      -- reports beyond the first: a cause of duplicates
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
-- Partial: the queue's cost depends on what waits, not on what was ever published.
CREATE INDEX outbox_pending ON outbox_events (sequence) WHERE published_at IS NULL;

-- What became of each transaction. A row appears with the first outcome; no row means "not tried yet".
CREATE TABLE deliveries (
    transaction_id   uuid PRIMARY KEY,
    state            text NOT NULL CHECK (state IN ('retrying', 'requeued', 'delivered', 'dead')),
    round            integer NOT NULL,
    attempt          integer NOT NULL,
    attempts_total   integer NOT NULL,
    last_status      integer,
    last_error       text,
    next_due_at      timestamptz,
    delivered_at     timestamptz,
    updated_at       timestamptz NOT NULL,
    dispatcher       text NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX deliveries_open ON deliveries (updated_at) WHERE state <> 'delivered';

-- Every attempt. The key makes writing the same batch twice harmless.
CREATE TABLE delivery_attempts (
    transaction_id   uuid NOT NULL,
    started_at       timestamptz NOT NULL,
    round            integer NOT NULL,
    attempt          integer NOT NULL,
    duration_ms      real NOT NULL,
    status           integer,                        -- null where no answer came
    error            text,
    dispatcher       text NOT NULL,
    kafka_partition  integer NOT NULL,
    kafka_offset     bigint NOT NULL,
    next_due_at      timestamptz,
    PRIMARY KEY (transaction_id, started_at, round, attempt)
);
