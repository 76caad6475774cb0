"""The outbox's bookkeeping that the API and the publisher share: which rows lie in Kafka.

A row is marked from a delivery report alone. Two publishers of one row are no error (the promise is at least once) but
are counted: `republished` explains a duplicate at the merchant. With the marking goes a note of which cluster holds the
records (`published_batches`): a Kafka that was made anew has none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from services.common.postgres import Connection

SESSION_OPTIONS: Final = "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off -c jit=off"
"""For every session that marks or claims: a few hundred ids always go through the primary key. Left to itself the
planner takes an array of ids for a reason to read the whole table, the more so the emptier its statistics."""

_MARK: Final = """
WITH reported AS (
    SELECT * FROM unnest(%b::text[]::uuid[], %b::int[], %b::bigint[], %b::float8[], %b::text[])
        AS r (transaction_id, partition, "offset", at_s, cluster_id)
), marked AS (
    UPDATE outbox_events o
       SET published_at = to_timestamp(r.at_s), published_by = %b,
           kafka_partition = r.partition, kafka_offset = r."offset"
      FROM reported r
     WHERE o.transaction_id = r.transaction_id AND coalesce(o.published_at, '-infinity') = '-infinity'
 RETURNING o.transaction_id, r.cluster_id, r.partition, r."offset"
), noted AS (
    INSERT INTO published_batches (cluster_id, kafka_partition, first_offset, last_offset, transaction_ids)
    SELECT cluster_id, partition, min("offset"), max("offset"), array_agg(transaction_id)
      FROM marked GROUP BY cluster_id, partition
)
SELECT transaction_id::text FROM marked
"""
"""Locks the rows it marks, in the order of the ids given: two markers with the same rows wait, they do not deadlock.
Only unpublished rows: that keeps the first publishing's place in Kafka, and makes a repeat harmless. Written so that
the planner cannot see the partial index in it: on a backlog younger than its statistics it joins every id with every
pending row (18 s for 500 ids and 400,000 rows); through the primary key it is 4 ms whatever waits."""

_COUNT_REPUBLISHED: Final = """
WITH reported AS (
    SELECT * FROM unnest(%b::text[]::uuid[], %b::int[], %b::bigint[]) AS r (transaction_id, partition, "offset")
)
UPDATE outbox_events o
   SET republished = o.republished + 1
  FROM reported r
 WHERE o.transaction_id = r.transaction_id AND o.published_at IS NOT NULL
   AND (o.kafka_partition, o.kafka_offset) IS DISTINCT FROM (r.partition, r."offset")
"""
"""The record that the row already names is no second publishing: it is this marking, repeated after a lost answer."""


class Report(NamedTuple):
    """One record that Kafka acknowledged."""

    transaction_id: str
    """The UUID in lower case."""
    partition: int
    offset: int
    at_s: float
    """Unix time of the delivery report."""
    cluster_id: str
    """The cluster that its producer was made for. A producer that has met another cluster since goes by the old one's
    id: its rows are then published again, and none passes for one that the new cluster holds."""


class Marked(NamedTuple):
    """What a marking did."""

    marked: int
    """Rows that became published."""
    republished: int
    """Rows that somebody else had published already."""


def mark_published(connection: Connection, by: str, reports: Iterable[Report]) -> Marked:
    """Marks the rows of `reports` published by member `by`; safe to repeat.

    Raises:
        psycopg.Error: nothing, or only the first of the two statements, took effect.
    """
    rows = sorted({report.transaction_id: report for report in reports}.values())
    if not rows:
        return Marked(0, 0)
    ids, partitions, offsets, times, clusters = map(list, zip(*rows, strict=True))
    done = connection.execute(_MARK, [ids, partitions, offsets, times, clusters, by], prepare=True)
    marked = {row[0] for row in done.fetchall()}
    rest = [row for row in rows if row.transaction_id not in marked]
    if not rest:
        return Marked(len(marked), 0)
    ids, partitions, offsets, _, _ = map(list, zip(*rest, strict=True))
    counted = connection.execute(_COUNT_REPUBLISHED, [ids, partitions, offsets])
    return Marked(len(marked), counted.rowcount)
