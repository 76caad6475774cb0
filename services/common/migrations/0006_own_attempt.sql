-- The attempt with whose outcome a row of deliveries was made lies in that row. Nearly every payment has no other, and so
-- costs neither a row of delivery_attempts nor a place in its index, the longest of all: by ids that come by chance each
-- place is a page of its own. `own_started_at` is null, and the others mean nothing, in rows that are older than this, where
-- no attempt made the row, and where a redelivery's did.
ALTER TABLE deliveries
    ADD COLUMN own_started_at       timestamptz,
    ADD COLUMN own_round            integer,
    ADD COLUMN own_attempt          integer,
    ADD COLUMN own_duration_ms      real,
    ADD COLUMN own_status           integer,
    ADD COLUMN own_error            text,
    ADD COLUMN own_dispatcher       text,
    ADD COLUMN own_kafka_partition  integer,
    ADD COLUMN own_kafka_offset     bigint,
    ADD COLUMN own_next_due_at      timestamptz;

-- Every attempt, wherever it lies, once: a batch that was written a second time, because the answer to the first got lost,
-- may have left a row's own attempt in delivery_attempts too. UNION and not UNION ALL, therefore; a condition on the ids
-- reaches both tables' primary keys all the same.
CREATE VIEW attempts AS
SELECT transaction_id, started_at, round, attempt, duration_ms, status, error, dispatcher, kafka_partition, kafka_offset,
       next_due_at, redelivery
  FROM delivery_attempts
 UNION
SELECT transaction_id, own_started_at, own_round, own_attempt, own_duration_ms, own_status, own_error, own_dispatcher,
       own_kafka_partition, own_kafka_offset, own_next_due_at, NULL
  FROM deliveries WHERE own_started_at IS NOT NULL;
