"""Published batches: which rows went to which cluster. Rows whose records are gone are put back, delivered ones go.

A batch is entered by the statement that marks its rows (`services.common.outbox`), so no row is ever published without
one; it is forgotten when all of its rows are delivered or dead-lettered. So the table is as long as the backlog, and no
statement here depends on how much was ever delivered. Each is one short statement on an autocommit connection, bounded
by `limit` rows, and safe for several publishers at once: what two of them do twice is published twice at worst.
"""

# ruff: noqa: S608 - the statements are put together from this module's constants; values travel as parameters

from __future__ import annotations

from typing import Final, NamedTuple

from services.common.postgres import Connection

_FRONT: Final = """
    SELECT number, transaction_ids
      FROM (SELECT number, transaction_ids,
                   sum(cardinality(transaction_ids)) OVER (ORDER BY number) - cardinality(transaction_ids) AS ids_before
              FROM (SELECT number, transaction_ids FROM published_batches
                     WHERE {condition} ORDER BY number LIMIT 200) AS front) AS counted
     WHERE ids_before < %b
"""
"""The first batches that meet the condition, as many as hold about so many rows; one at least."""

_ONE_PARTITION: Final = "cluster_id = %b AND kafka_partition = %b AND "

_PUT_BACK: Final = """
    UPDATE outbox_events o
       SET published_at = NULL, published_by = NULL, kafka_partition = NULL, kafka_offset = NULL,
           claimed_by = NULL, claimed_until = NULL, republished = o.republished + 1
      FROM gone WHERE o.transaction_id = gone.id
 RETURNING o.transaction_id
"""
"""Locks rows in the order of their ids, as a marking does. Each comes to Kafka once more: that explains a duplicate."""

_NEVER_TRIED_BELOW: Final = """
    SELECT DISTINCT i.id
      FROM taken t CROSS JOIN LATERAL unnest(t.transaction_ids) AS i (id)
      JOIN outbox_events o ON o.transaction_id = i.id
     WHERE o.published_at IS NOT NULL AND o.kafka_partition = %b AND o.kafka_offset < %b
       AND NOT EXISTS (SELECT FROM deliveries d WHERE d.transaction_id = i.id)
     ORDER BY i.id
"""
"""Rows of the taken batches that lie below an offset of their partition, and of which nothing came."""

_GONE_LOG: Final = f"""
WITH taken AS MATERIALIZED ({_FRONT.format(condition="cluster_id < %b OR cluster_id > %b OR number <= %b")}
), forgotten AS (
    DELETE FROM published_batches b USING taken t WHERE b.number = t.number RETURNING b.transaction_ids
), gone AS MATERIALIZED (
    SELECT DISTINCT i.id
      FROM forgotten f CROSS JOIN LATERAL unnest(f.transaction_ids) AS i (id)
      JOIN outbox_events o ON o.transaction_id = i.id AND o.published_at IS NOT NULL
     WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.transaction_id = i.id AND d.state IN ('delivered', 'dead'))
     ORDER BY i.id
), back AS ({_PUT_BACK})
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM back)
"""
"""Re-queued and retried rows too: their records went with the old log as well. Only batches that this statement
itself deletes count, so of two publishers one puts a row back. Batch and rows change together or not at all."""

_BEYOND_END: Final = f"""
WITH taken AS MATERIALIZED ({_FRONT.format(condition=_ONE_PARTITION + "last_offset >= %b AND number <= %b")}
), kept AS (
    UPDATE published_batches b SET last_offset = %b - 1 FROM taken t WHERE b.number = t.number
), gone AS MATERIALIZED (
    SELECT DISTINCT i.id
      FROM taken t CROSS JOIN LATERAL unnest(t.transaction_ids) AS i (id)
      JOIN outbox_events o ON o.transaction_id = i.id
     WHERE o.published_at IS NOT NULL AND o.kafka_partition = %b AND o.kafka_offset >= %b
       AND NOT EXISTS (SELECT FROM deliveries d WHERE d.transaction_id = i.id AND d.state IN ('delivered', 'dead'))
     ORDER BY i.id
), back AS ({_PUT_BACK})
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM back)
"""
"""The batch stays, with what the log still holds of it."""

_BELOW_START: Final = f"""
WITH taken AS MATERIALIZED ({_FRONT.format(condition=_ONE_PARTITION + "first_offset < %b AND number <= %b")}
), kept AS (
    UPDATE published_batches b SET first_offset = %b FROM taken t WHERE b.number = t.number
), gone AS MATERIALIZED ({_NEVER_TRIED_BELOW}), back AS ({_PUT_BACK})
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM back)
"""
"""Only rows that were never tried: one that was re-queued lies further on, whatever became of its first record."""

_PASSED: Final = f"""
WITH taken AS MATERIALIZED (
    {_FRONT.format(condition=_ONE_PARTITION + "first_offset < %b AND number > %b")}
), gone AS MATERIALIZED ({_NEVER_TRIED_BELOW}), back AS ({_PUT_BACK})
SELECT (SELECT max(number) FROM taken), (SELECT count(*) FROM back)
"""
"""The batch stays: what becomes of its rows settles it. No cursor over a queue either: from the front after the end."""

_SETTLE: Final = f"""
WITH looked AS MATERIALIZED ({_FRONT.format(condition="number > %b")}
), still AS MATERIALIZED (
    SELECT l.number, array_agg(i.id) AS ids
      FROM looked l CROSS JOIN LATERAL unnest(l.transaction_ids) AS i (id)
     WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.transaction_id = i.id AND d.state IN ('delivered', 'dead'))
       AND EXISTS (SELECT FROM outbox_events o WHERE o.transaction_id = i.id)
     GROUP BY l.number
), settled AS (
    DELETE FROM published_batches b USING looked l
     WHERE b.number = l.number AND NOT EXISTS (SELECT FROM still s WHERE s.number = l.number)
 RETURNING b.number
), thinned AS (
    UPDATE published_batches b SET transaction_ids = s.ids
      FROM still s JOIN looked l USING (number)
     WHERE b.number = s.number AND cardinality(s.ids) <= cardinality(l.transaction_ids) / 2
)
SELECT (SELECT max(number) FROM looked), (SELECT count(*) FROM settled)
"""
"""A delivery is final, so it does not matter who looked when. The place to go on from is no cursor over a queue: it
starts again from the front. One without an outbox row was delivered, and pruned since."""

_NOTE_TOPIC: Final = """
WITH changed AS (
    UPDATE published_topic
       SET topic_id = %b,
           gone_to = CASE WHEN topic_id IS NULL THEN 0
                          ELSE (SELECT coalesce(max(number), 0) FROM published_batches) END
     WHERE topic_id IS DISTINCT FROM %b
 RETURNING gone_to
)
SELECT coalesce((SELECT gone_to FROM changed), (SELECT gone_to FROM published_topic))
"""
"""The first id ever noted is that of the topic that everything went to."""

_NEWEST: Final = "SELECT coalesce(max(number), 0) FROM published_batches"

_BACKFILL: Final = """
WITH place AS MATERIALIZED (
    SELECT next_id, coalesce(cluster_id, %b::text) AS cluster_id
      FROM published_batches_backfill WHERE NOT done FOR UPDATE
), chunk AS MATERIALIZED (
    SELECT o.transaction_id, o.published_at, o.kafka_partition, o.kafka_offset
      FROM place CROSS JOIN LATERAL (
           SELECT * FROM outbox_events e WHERE e.transaction_id > place.next_id ORDER BY e.transaction_id LIMIT %b) o
), entered AS (
    INSERT INTO published_batches (cluster_id, kafka_partition, first_offset, last_offset, transaction_ids)
    SELECT place.cluster_id, c.kafka_partition, min(c.kafka_offset), max(c.kafka_offset), array_agg(c.transaction_id)
      FROM place CROSS JOIN chunk c
     WHERE c.published_at IS NOT NULL AND c.kafka_offset IS NOT NULL
       AND NOT EXISTS (SELECT FROM deliveries d
                        WHERE d.transaction_id = c.transaction_id AND d.state IN ('delivered', 'dead'))
     GROUP BY place.cluster_id, c.kafka_partition
), moved AS (
    UPDATE published_batches_backfill b
       SET cluster_id = place.cluster_id, done = NOT EXISTS (SELECT FROM chunk),
           next_id = coalesce((SELECT transaction_id FROM chunk ORDER BY transaction_id DESC LIMIT 1), b.next_id)
      FROM place
 RETURNING b.done
)
SELECT coalesce((SELECT done FROM moved), true)
"""
"""Several publishers wait for each other here, and each goes on where the one before it stopped. What is accepted
meanwhile has its batch from its marking; a row in two batches is put back twice at worst."""


class PutBack(NamedTuple):
    """What putting back did."""

    batches: int
    """Batches looked at: 0 where none is left."""
    rows: int
    """Rows that are pending again."""


def newest(connection: Connection) -> int:
    """The number of the newest batch; 0 where there is none. Raises psycopg.Error."""
    row = connection.execute(_NEWEST).fetchone()
    return int(row[0]) if row else 0


def note_topic(connection: Connection, topic_id: str) -> int:
    """Notes that the payments' topic has this id now.

    The number up to which batches are of a topic that has gone: the newest there was when the present one was first
    seen. Some of them may be of the new one already: those rows go out twice, none is left out. Raises psycopg.Error.
    """
    row = connection.execute(_NOTE_TOPIC, [topic_id, topic_id]).fetchone()
    return int(row[0]) if row else 0


def put_back_of_gone_logs(connection: Connection, cluster_id: str, *, gone_to: int = 0, limit: int) -> PutBack:
    """Puts back rows that went to another cluster than `cluster_id`, which is the one that answers now, and those of
    batches up to the number `gone_to`. Raises psycopg.Error."""
    return _put_back(connection, _GONE_LOG, [cluster_id, cluster_id, gone_to, limit])


def put_back_beyond(
    connection: Connection, cluster_id: str, partition: int, end: int, *, newest: int, limit: int
) -> PutBack:
    """Puts back rows whose offset the partition does not reach. `end` must have been read after `newest`: what was
    marked since lies beyond it without being lost."""
    parameters = [cluster_id, partition, end, newest, limit, end, partition, end]
    return _put_back(connection, _BEYOND_END, parameters)


def put_back_below(
    connection: Connection, cluster_id: str, partition: int, start: int, *, newest: int, limit: int
) -> PutBack:
    """Puts back rows that were never tried and whose offset the partition does not have any more."""
    parameters = [cluster_id, partition, start, newest, limit, start, partition, start]
    return _put_back(connection, _BELOW_START, parameters)


def put_back_passed(
    connection: Connection, cluster_id: str, partition: int, committed: int, *, after: int, limit: int
) -> tuple[int | None, int]:
    """Puts back rows whose record the dispatcher has passed without a trace.

    It commits an offset only when the outcome of every record before it is in Postgres (record, then commit). So a row
    that passes for published before `committed` and has no delivery at all was never there: a broker acknowledged its
    record and did not keep it, or another record lies in its place.

    Args:
        committed: what the group has committed, on the topic that is there now; read before this is called.
        after: looks at batches of a higher number; those up to the number of the topic that has gone must be below.

    Returns:
        The last number looked at (None: there was none), and how many rows are pending again.

    Raises:
        psycopg.Error: nothing was put back, or it is not known.
    """
    parameters = [cluster_id, partition, committed, after, limit, partition, committed]
    row = connection.execute(_PASSED.encode(), parameters).fetchone()
    return (row[0], row[1]) if row else (None, 0)


def settle(connection: Connection, after: int, *, limit: int) -> tuple[int | None, int]:
    """Forgets batches whose rows are all delivered or dead-lettered, looking at those numbered above `after`.

    The last number looked at (None: there was none), and how many batches were forgotten.
    """
    row = connection.execute(_SETTLE, [after, limit], prepare=True).fetchone()
    return (row[0], row[1]) if row else (None, 0)


def backfill(connection: Connection, cluster_id: str, *, limit: int) -> bool:
    """Enters the next `limit` rows of the time before there were batches; whether all are. They went to the first
    cluster that answered. Raises psycopg.Error."""
    row = connection.execute(_BACKFILL, [cluster_id, limit]).fetchone()
    return bool(row and row[0])


def _put_back(connection: Connection, statement: str, parameters: list[object]) -> PutBack:
    row = connection.execute(statement.encode(), parameters).fetchone()
    return PutBack(*row) if row else PutBack(0, 0)
