-- The payments' topic as the outbox-publisher last saw it. One that was deleted and made again has another id: batches
-- up to `gone_to` are of the old one.
CREATE TABLE published_topic (
    id           integer PRIMARY KEY CHECK (id = 1),
    topic_id     text,                               -- null until it is first seen
    gone_to      bigint NOT NULL
);
INSERT INTO published_topic VALUES (1, NULL, 0);
