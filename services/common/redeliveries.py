"""Redeliveries: what an operator asked to have delivered once more, from the asking to the publishing.

A redelivery is a row of its own (`redeliveries`), written in one transaction by whoever asks. The outbox-publisher
brings it to Kafka as it does with an outbox row; its number travels in the record's headers, through re-queues and to
the merchant, and the dispatcher's outcome of that number ends it (`services.dispatcher.outcome`). Nobody who asks needs
Kafka, and whatever dies in between, the row is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.common.postgres import Connection

MAX_REASON_CHARS: Final = 200

_ASK: Final = """
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT i.id FROM unnest(%b::text[]::uuid[]) AS i (id)
), known AS MATERIALIZED (
    SELECT w.id, o.transaction_id IS NOT NULL AS stored,
           coalesce(d.state, CASE WHEN o.published_at IS NULL THEN 'outbox' ELSE 'in-kafka' END) AS state
      FROM wanted w
      LEFT JOIN LATERAL (SELECT * FROM outbox_events WHERE transaction_id = w.id FOR KEY SHARE) o ON true
      LEFT JOIN LATERAL (SELECT * FROM deliveries WHERE transaction_id = w.id OFFSET 0) d ON true
), asked AS (
    INSERT INTO redeliveries (transaction_id, reason, state_before)
    SELECT id, %b, state FROM known WHERE stored AND state IN ('delivered', 'dead') ORDER BY id
        ON CONFLICT (transaction_id) WHERE ended_at IS NULL DO NOTHING
 RETURNING number, transaction_id
)
SELECT k.id::text, CASE WHEN k.stored THEN k.state END, a.number
  FROM known k LEFT JOIN asked a ON a.transaction_id = k.id
"""
"""One statement, so one transaction: what two operators ask for at the same moment is asked for once. `OFFSET 0` keeps
each lookup one by primary key. The outbox row is locked against retention, which locks it before it looks for
redeliveries: what is asked for is there when it is claimed."""

_CLAIM: Final = """
WITH due AS (
    SELECT number, claimed_by IS NOT NULL AS taken_over
      FROM redeliveries
     WHERE published_at IS NULL AND ended_at IS NULL
       AND (claimed_until IS NULL
            OR claimed_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %b))
     ORDER BY number
     LIMIT %b
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE redeliveries r
       SET claimed_by = %b, claimed_until = clock_timestamp() + make_interval(secs => %b),
           topic_id = (SELECT topic_id FROM published_topic)
      FROM due
     WHERE r.number = due.number
 RETURNING r.number, r.transaction_id, r.asked_at, due.taken_over
)
SELECT c.number, c.transaction_id::text, p.canonical, (extract(epoch FROM c.asked_at) * 1000)::bigint, c.taken_over
  FROM claimed c
 CROSS JOIN LATERAL (SELECT canonical FROM payments WHERE transaction_id = c.transaction_id LIMIT 1) p
"""
"""As the claim of outbox rows, without a grace: nobody else publishes these."""

_RELEASE: Final = """
UPDATE redeliveries SET claimed_by = NULL, claimed_until = NULL
 WHERE number = ANY(%b::bigint[]) AND claimed_by = %b AND published_at IS NULL
"""

_RELEASE_OWN: Final = """
UPDATE redeliveries SET claimed_by = NULL, claimed_until = NULL
 WHERE published_at IS NULL AND ended_at IS NULL AND claimed_by = %b
"""

_MARK: Final = """
WITH reported AS (
    SELECT * FROM unnest(%b::bigint[], %b::int[], %b::bigint[], %b::float8[]) AS r (number, partition, "offset", at_s)
)
UPDATE redeliveries d
   SET published_at = to_timestamp(r.at_s), published_by = %b, kafka_partition = r.partition, kafka_offset = r."offset"
  FROM reported r
 WHERE d.number = r.number AND d.published_at IS NULL
"""
"""The first publishing's place stays, as in the outbox."""

_PUT_BACK: Final = """
WITH gone AS MATERIALIZED (
    SELECT number FROM redeliveries
     WHERE published_at IS NOT NULL AND ended_at IS NULL AND (topic_id < %b OR topic_id > %b OR topic_id IS NULL)
     LIMIT %b
)
UPDATE redeliveries r
   SET published_at = NULL, published_by = NULL, kafka_partition = NULL, kafka_offset = NULL,
       claimed_by = NULL, claimed_until = NULL
  FROM gone WHERE r.number = gone.number AND r.published_at IS NOT NULL
"""
"""Re-queued ones too: their records went with the topic as well. Written as ranges, which the index has."""


_LAST: Final = """
SELECT number, kafka_partition, kafka_offset FROM redeliveries
 WHERE published_at IS NOT NULL AND ended_at IS NULL ORDER BY kafka_offset DESC LIMIT %b
"""

_PUT_BACK_THESE: Final = """
UPDATE redeliveries r
   SET published_at = NULL, published_by = NULL, kafka_partition = NULL, kafka_offset = NULL,
       claimed_by = NULL, claimed_until = NULL
  FROM unnest(%b::bigint[], %b::int[], %b::bigint[]) AS gone (number, partition, "offset")
 WHERE r.number = gone.number AND r.ended_at IS NULL
   AND (r.kafka_partition, r.kafka_offset) = (gone.partition, gone."offset")
"""


class Asked(NamedTuple):
    """What became of the wish to have one transaction delivered again."""

    transaction_id: str
    state: str | None
    """Where the transaction was when it was asked for; None: no such payment."""
    number: int | None
    """The redelivery's; None where it was not taken."""

    @property
    def refusal(self) -> str:
        """Why it was not taken, as a sentence; empty where it was."""
        if self.number is not None:
            return ""
        if self.state is None:
            return f"{self.transaction_id}: no accepted payment has this id (any more: RETENTION_DAYS)"
        if self.state in ("delivered", "dead"):
            return f"{self.transaction_id} is being redelivered already: ask again once that has arrived"
        return f"{self.transaction_id} is still on its way ({self.state}): it is delivered without being asked for"


class Due(NamedTuple):
    """A redelivery that is ours until its lease runs out."""

    number: int
    transaction_id: str
    canonical: bytes
    asked_at_ms: int
    taken_over: bool


class Redelivered(NamedTuple):
    """A redelivery's record that Kafka acknowledged."""

    number: int
    partition: int
    offset: int
    at_s: float
    """Unix time of the delivery report."""


class Place(NamedTuple):
    """Where a redelivery's record lies."""

    number: int
    partition: int
    offset: int


def ask(connection: Connection, ids: Sequence[str], reason: str) -> list[Asked]:
    """Asks for each of `ids` (UUIDs, at most some thousands) to be delivered once more; what became of each.

    Only what is delivered or dead-lettered is taken, and only where no earlier redelivery of it is still on its way.

    Raises:
        psycopg.Error: nothing was asked for, or it was and nobody knows: asking again takes nothing twice.
    """
    known = reason.replace("\0", "").strip()[:MAX_REASON_CHARS]
    rows = connection.execute(_ASK, [list(ids), known]).fetchall()
    return [Asked(*row) for row in rows]


def claim(connection: Connection, member: str, *, limit: int, furthest_s: float, lease_s: float) -> list[Due]:
    """Up to `limit` redeliveries that nobody holds, ours for `lease_s` from now; a lease of somebody else's that ends
    more than `furthest_s` from now was written before the server's clock was set back. Raises psycopg.Error."""
    rows = connection.execute(_CLAIM, [furthest_s, limit, member, lease_s], prepare=True, binary=True).fetchall()
    return [Due(*row) for row in rows]


def release(connection: Connection, member: str, numbers: Sequence[int]) -> int:
    """Gives redeliveries back at once; how many. Raises psycopg.Error."""
    return connection.execute(_RELEASE, [sorted(numbers), member]).rowcount


def release_own(connection: Connection, member: str) -> int:
    """Gives back whatever an earlier process of this member held; how many. Raises psycopg.Error."""
    return connection.execute(_RELEASE_OWN, [member]).rowcount


def mark_published(connection: Connection, by: str, reports: Sequence[Redelivered]) -> int:
    """Marks what Kafka acknowledged; how many became published. Safe to repeat. Raises psycopg.Error."""
    numbers, partitions, offsets, times = map(list, zip(*sorted(reports), strict=True))
    return connection.execute(_MARK, [numbers, partitions, offsets, times, by], prepare=True).rowcount


def put_back(connection: Connection, topic_id: str, *, limit: int) -> int:
    """Has up to `limit` of those published again that went to another topic than `topic_id` and have not arrived; how
    many. Raises psycopg.Error."""
    return connection.execute(_PUT_BACK, [topic_id, topic_id, limit], prepare=True).rowcount


def last_places(connection: Connection, *, limit: int) -> list[Place]:
    """Where those lie that have not arrived, the highest offsets first. Raises psycopg.Error."""
    return [Place(*row) for row in connection.execute(_LAST, [limit], prepare=True).fetchall()]


def put_these_back(connection: Connection, places: Sequence[Place]) -> int:
    """Has those published again that still lie at these places; how many. Raises psycopg.Error."""
    numbers, partitions, offsets = map(list, zip(*sorted(places), strict=True))
    return connection.execute(_PUT_BACK_THESE, [numbers, partitions, offsets]).rowcount
