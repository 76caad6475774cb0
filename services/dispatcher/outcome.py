"""Outcomes as rows for Postgres, and the one statement that writes a batch of them. Knows no connection.

Writing a batch again changes nothing that is read: an attempt's key holds the moment it began, the view `attempts`
tells each once, and `delivered` is never overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from services.common.arrays import plain_array, text_array
from services.dispatcher.record import Position, Record

MAX_ERROR_CHARS: Final = 200


class Outcome(NamedTuple):
    """What became of a transaction at one moment; times are Unix seconds."""

    transaction_id: str
    state: str
    """`retrying`, `requeued`, `delivered` or `dead`."""
    round: int
    attempt: int
    attempts_total: int
    partition: int
    offset: int
    at_s: float
    """When it became so."""
    started_s: float | None
    """When the attempt began; None where the outcome is not that of an attempt (re-queued, dead)."""
    duration_ms: float | None
    status: int | None
    error: str | None
    next_due_s: float | None
    redelivery: int | None = None
    """The number of the redelivery that it is of; None for the transaction's own delivery."""


_TEXTS: Final = ("state", "error")

WRITE: Final = """
-- All tables in one round trip. Rows are locked in the order of their ids, so two dispatchers never deadlock.
WITH outcome AS MATERIALIZED (
    SELECT *, to_timestamp(started_s) AS started_at, to_timestamp(next_due_s) AS next_due_at,
           CASE WHEN redelivery IS NULL THEN to_timestamp(started_s) END AS own_started_at
    FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::float8[],
                %s::float8[], %s::float4[], %s::int[], %s::text[], %s::float8[], %s::bigint[], %s::bool[])
        AS o (transaction_id, state, round, attempt, attempts_total, kafka_partition, kafka_offset, at_s,
              started_s, duration_ms, status, error, next_due_s, redelivery, latest),
         (SELECT %s::text AS dispatcher) AS writer
), redelivered AS (
    -- Through the primary key: a batch without redeliveries costs it nothing, however many there ever were.
    UPDATE redeliveries r
       SET (ended_at, ended_as) = (SELECT to_timestamp(o.at_s), o.state FROM outcome o
                                    WHERE o.redelivery = r.number AND o.state IN ('delivered', 'dead')
                                    ORDER BY o.at_s LIMIT 1)
     WHERE r.number = ANY (ARRAY(SELECT redelivery FROM outcome
                                  WHERE redelivery IS NOT NULL AND state IN ('delivered', 'dead')))
       AND r.ended_at IS NULL
), written AS (
    INSERT INTO deliveries AS known (transaction_id, state, round, attempt, attempts_total, last_status, last_error,
                                     next_due_at, delivered_at, updated_at, dispatcher, own_started_at, own_round,
                                     own_attempt, own_duration_ms, own_status, own_error, own_dispatcher,
                                     own_kafka_partition, own_kafka_offset, own_next_due_at)
    SELECT o.transaction_id, o.state, o.round, o.attempt, o.attempts_total, o.status, o.error, o.next_due_at,
           CASE WHEN o.state = 'delivered' THEN to_timestamp(o.at_s) END, to_timestamp(o.at_s), o.dispatcher,
           o.own_started_at, o.round, o.attempt, o.duration_ms, o.status, o.error, o.dispatcher,
           o.kafka_partition, o.kafka_offset, o.next_due_at
      FROM outcome o
     WHERE o.latest
     ORDER BY o.transaction_id
    ON CONFLICT (transaction_id) DO UPDATE SET
        state = EXCLUDED.state, round = EXCLUDED.round, attempt = EXCLUDED.attempt,
        attempts_total = GREATEST(known.attempts_total, EXCLUDED.attempts_total),
        last_status = COALESCE(EXCLUDED.last_status, known.last_status),
        last_error = CASE WHEN EXCLUDED.last_status IS NULL AND EXCLUDED.last_error IS NULL
                          THEN known.last_error ELSE EXCLUDED.last_error END,
        next_due_at = EXCLUDED.next_due_at, delivered_at = EXCLUDED.delivered_at,
        updated_at = EXCLUDED.updated_at, dispatcher = EXCLUDED.dispatcher
    WHERE known.state <> 'delivered' AND (EXCLUDED.state = 'delivered' OR EXCLUDED.updated_at >= known.updated_at)
    RETURNING transaction_id, own_started_at, own_round, own_attempt
)
-- What a row of deliveries was made with lies in it; every other attempt is a row of its own.
INSERT INTO delivery_attempts (transaction_id, started_at, round, attempt, duration_ms, status, error, dispatcher,
                               kafka_partition, kafka_offset, next_due_at, redelivery)
SELECT o.transaction_id, o.started_at, o.round, o.attempt, o.duration_ms, o.status, o.error, o.dispatcher,
       o.kafka_partition, o.kafka_offset, o.next_due_at, o.redelivery
  FROM outcome o
 WHERE o.started_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM written w
                    WHERE w.transaction_id = o.transaction_id AND w.own_started_at = o.started_at
                      AND w.own_round = o.round AND w.own_attempt = o.attempt)
ON CONFLICT DO NOTHING
"""


def attempts_total(record: Record, max_attempts: int) -> int:
    """Attempts over all rounds, `record.attempt` in this one; earlier rounds count as full."""
    return (record.round - 1) * max_attempts + record.attempt


def dead(transaction_id: str, position: Position, reason: str, at_s: float, redelivery: int | None) -> Outcome:
    """The outcome of an unreadable record whose id can be read."""
    return Outcome(
        transaction_id, "dead", 1, 0, 0, position.partition, position.offset, at_s, None, None, None,
        clean(reason), None, redelivery,
    )  # fmt: skip


def clean(text: str) -> str:
    """`text` as Postgres takes it: no NUL, not endless."""
    return text.replace("\0", "")[:MAX_ERROR_CHARS]


def parameters(outcomes: Sequence[Outcome], dispatcher: str) -> list[Any]:
    """The parameters of WRITE for a batch, which must not be empty."""
    columns = zip(Outcome._fields, zip(*outcomes, strict=True), strict=True)
    arrays = [text_array(column) if name in _TEXTS else plain_array(column) for name, column in columns]
    return [*arrays, plain_array(latest(outcomes)), dispatcher]


def latest(outcomes: Sequence[Outcome]) -> list[bool]:
    """For each outcome whether it is the one that its transaction's row shows: the last, but a delivery wins.

    One statement may touch a row only once.
    """
    chosen: dict[str, int] = {}
    for index, outcome in enumerate(outcomes):
        known = chosen.get(outcome.transaction_id)
        if known is None or outcomes[known].state != "delivered":
            chosen[outcome.transaction_id] = index
    marks = [False] * len(outcomes)
    for index in chosen.values():
        marks[index] = True
    return marks
