-- Which rows went to which Kafka cluster, for as long as somebody in them is not known to be delivered. So that rows
-- whose records are gone are found without reading the outbox: this table is as long as the backlog, whatever was
-- ever delivered. Made new and empty: quick whatever the other tables hold.
CREATE TABLE published_batches (
    number           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id       text NOT NULL,                  -- that Kafka's own id: another one after it was made anew
    kafka_partition  integer NOT NULL,
    first_offset     bigint NOT NULL,
    last_offset      bigint NOT NULL,
    transaction_ids  uuid[] NOT NULL                 -- rows that were marked together; thinned out as they are delivered
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX published_batches_last ON published_batches (cluster_id, kafka_partition, last_offset);
CREATE INDEX published_batches_first ON published_batches (cluster_id, kafka_partition, first_offset);

-- How far rows that were published before this table existed are entered in it: the outbox-publisher goes through them
-- once, in the order of their ids, a few thousand at a time.
CREATE TABLE published_batches_backfill (
    id           integer PRIMARY KEY CHECK (id = 1),
    cluster_id   text,                               -- the first that answered: the one those rows went to
    next_id      uuid NOT NULL,
    done         boolean NOT NULL
);
INSERT INTO published_batches_backfill
SELECT 1, NULL, '00000000-0000-0000-0000-000000000000', NOT EXISTS (SELECT FROM outbox_events);
