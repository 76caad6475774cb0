-- What an operator asked to have delivered once more: the outbox-publisher claims and publishes a row, the dispatcher's
-- outcome ends it, and it stays, so that whoever looks later finds when it was asked for, and why. Beside the outbox and
-- not in it: an outbox row names the payment's first record, and a late report of that one must not end a redelivery.
CREATE TABLE redeliveries (
    number           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- travels with the record: tells its deliveries apart
    transaction_id   uuid NOT NULL,
    asked_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason           text NOT NULL,
    state_before     text NOT NULL CHECK (state_before IN ('delivered', 'dead')),
    claimed_by       text,
    claimed_until    timestamptz,
    topic_id         text,                           -- the topic it was claimed for: one made anew has another id
    published_at     timestamptz,
    published_by     text,
    kafka_partition  integer,
    kafka_offset     bigint,
    ended_at         timestamptz,
    ended_as         text CHECK (ended_as IN ('delivered', 'dead'))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
-- One at a time for each transaction, whoever asks at the same moment: what is on its way is not asked for again.
CREATE UNIQUE INDEX redeliveries_open ON redeliveries (transaction_id) WHERE ended_at IS NULL;
CREATE INDEX redeliveries_pending ON redeliveries (number) WHERE published_at IS NULL AND ended_at IS NULL;
CREATE INDEX redeliveries_in_kafka ON redeliveries (topic_id) WHERE published_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX redeliveries_last ON redeliveries (kafka_offset) WHERE published_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX redeliveries_of_dead ON redeliveries (ended_at) WHERE state_before = 'dead';
CREATE INDEX redeliveries_transaction ON redeliveries (transaction_id);

-- Which redelivery an attempt belongs to; null for the payment's own delivery.
ALTER TABLE delivery_attempts ADD COLUMN redelivery bigint;
