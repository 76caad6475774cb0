-- What the outbox-publisher has pruned (RETENTION_DAYS), so that whoever finds no payment can tell whether there may
-- have been one. Changed in the transaction that prunes.
CREATE TABLE retention (
    id           integer PRIMARY KEY CHECK (id = 1),
    pruned       bigint NOT NULL,                    -- payments pruned so far
    pruned_to    timestamptz                         -- the newest accepted_at among them; null: none was ever pruned
);
INSERT INTO retention VALUES (1, 0, NULL);

-- What is pruned must be cleaned up before it is many pages. A share of the table and no fixed number: a vacuum reads
-- the indexes whole, so its cost for each pruned row stays the same however long the table is.
ALTER TABLE payments SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE delivery_attempts SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
