"""What Postgres knows about given ids: the statements that evidence rests on. Reads only, locks nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from control_room.tracking.parts import SourceError
from services.common.outbox import SESSION_OPTIONS
from services.common.postgres import Connection, Link

T = TypeVar("T")
CHUNK_IDS: Final = 5_000
"""Ids per statement: about 50 ms of Postgres."""
_OPEN_BEFORE_TIMEOUT_MS: Final = 120_000
_TABLES_TIMEOUT_MS: Final = 60_000
PASSED_OVER_S: Final = 10.0
"""Longer than a row may be locked, or given back and not taken again, by a publisher that works."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_STORES: Final = """
SELECT i.id::text, p.transaction_id IS NOT NULL, extract(epoch FROM p.accepted_at)::float8,
       o.transaction_id IS NOT NULL,
       CASE WHEN r.number IS NULL THEN o.published_at IS NOT NULL ELSE r.published_at IS NOT NULL END,
       CASE WHEN r.number IS NULL THEN o.kafka_partition ELSE r.kafka_partition END,
       CASE WHEN r.number IS NULL THEN o.kafka_offset ELSE r.kafka_offset END,
       coalesce(o.republished, 0), CASE WHEN r.number IS NULL THEN d.state END, d.last_error
  FROM unnest(%b::text[]::uuid[]) AS i (id)
  LEFT JOIN payments p ON p.transaction_id = i.id
  LEFT JOIN outbox_events o ON o.transaction_id = i.id
  LEFT JOIN deliveries d ON d.transaction_id = i.id
  LEFT JOIN redeliveries r ON d.state = 'dead' AND r.transaction_id = i.id AND r.ended_at IS NULL
"""
"""A dead-lettered one that is being redelivered is where its redelivery is: in the outbox, or in Kafka."""

_WITHOUT_ROWS: Final = """
SELECT i.id::text
  FROM unnest(%b::text[]::uuid[]) AS i (id)
 WHERE NOT EXISTS (SELECT FROM payments p WHERE p.transaction_id = i.id)
    OR NOT EXISTS (SELECT FROM outbox_events o WHERE o.transaction_id = i.id)
"""

_PLACES: Final = """
SELECT o.transaction_id::text, o.kafka_partition, o.kafka_offset, extract(epoch FROM o.published_at)::float8
  FROM unnest(%b::text[]::uuid[]) AS i (id)
  JOIN outbox_events o ON o.transaction_id = i.id
 WHERE o.published_at IS NOT NULL
"""

_TORN: Final = """
SELECT coalesce(p.transaction_id, o.transaction_id)::text, p.transaction_id IS NULL
  FROM payments p FULL JOIN outbox_events o USING (transaction_id)
 WHERE p.transaction_id IS NULL OR o.transaction_id IS NULL
 LIMIT %s
"""
"""Reads both primary keys from end to end: 1,000,000 rows take about a second."""

_PASSED_OVER: Final = """
WITH newest AS (
    SELECT sequence, created_at, published_at FROM outbox_events
     WHERE published_by LIKE 'outbox-publisher%%' ORDER BY published_at DESC LIMIT 1
)
SELECT o.transaction_id::text, extract(epoch FROM newest.published_at - o.created_at)::float8
  FROM outbox_events o, newest
 WHERE o.published_at IS NULL AND o.sequence < newest.sequence
   AND greatest(o.created_at, o.claimed_until) < newest.created_at - make_interval(secs => %s)
 LIMIT %s
"""
"""Rows that pend although a publisher has published one that was made long after these were free to be taken. It takes
from the front, so it cannot; one that remembers how far it came can."""

_COUNTS: Final = "SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM outbox_events)"

_ATTEMPTS: Final = """
SELECT a.transaction_id::text, a.round, a.attempt, extract(epoch FROM a.started_at)::float8, a.duration_ms, a.status,
       a.error, a.dispatcher, a.kafka_partition, a.kafka_offset, extract(epoch FROM a.next_due_at)::float8,
       a.redelivery
  FROM attempts a WHERE a.transaction_id = ANY (%b::text[]::uuid[])
 ORDER BY a.transaction_id, a.started_at, a.round, a.attempt
"""

_REDELIVERIES: Final = """
SELECT r.number, r.transaction_id::text, extract(epoch FROM r.asked_at)::float8, r.reason, r.state_before,
       extract(epoch FROM r.published_at)::float8, r.published_by, r.kafka_partition, r.kafka_offset,
       extract(epoch FROM r.ended_at)::float8, r.ended_as
  FROM unnest(%b::text[]::uuid[]) AS i (id)
  JOIN redeliveries r ON r.transaction_id = i.id
 ORDER BY r.number
"""

_PRUNED_TO: Final = "SELECT extract(epoch FROM pruned_to)::float8 FROM retention"

_OPEN_BEFORE: Final = """
SELECT p.transaction_id::text
  FROM payments p
  LEFT JOIN deliveries d ON d.transaction_id = p.transaction_id
 WHERE d.state IS DISTINCT FROM 'delivered'
"""


class StoreRow(NamedTuple):
    """What Postgres holds of one id."""

    transaction_id: str
    payment: bool
    accepted_at: float | None
    in_outbox: bool
    published: bool
    partition: int | None
    offset: int | None
    republished: int
    delivery_state: str | None
    """Of `deliveries`; None where it was never tried."""
    error: str | None

    @property
    def state(self) -> str:
        """One of stores.jsonl's states."""
        if not self.payment or not self.in_outbox:
            return "missing"
        if self.delivery_state is not None:
            return self.delivery_state
        return "in-kafka" if self.published else "outbox"

    def record(self) -> dict[str, Any]:
        """The line of stores.jsonl."""
        outbox = "missing" if not self.in_outbox else "published" if self.published else "pending"
        return {
            "k": "store",
            "id": self.transaction_id,
            "payment": self.payment,
            "accepted_at": self.accepted_at,
            "outbox": outbox,
            "partition": self.partition,
            "offset": self.offset,
            "republished": self.republished,
            "state": self.state,
            "error": self.error,
        }


class Place(NamedTuple):
    """Where a published row says that its record lies; no offset where the producer never learned it."""

    transaction_id: str
    partition: int | None
    offset: int | None
    published_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Both tables whole, in one snapshot."""

    payments: int
    outbox: int
    torn: tuple[tuple[str, str], ...]
    """Ids that stand in one table alone, each with the table that lacks it; the first of them."""
    passed_over: tuple[tuple[str, float], ...]
    """Ids that pend although a publisher has published later ones, and for how long they had been there by then."""


class StoreReader:
    """Asks Postgres about ids over one kept connection. Not for several threads.

    Every method raises SourceError where Postgres does not answer within `patience_s`. Ids must be UUIDs; others are
    known to no table and are left out of what is asked.
    """

    def __init__(self, conninfo: str, *, deadline_s: float = 5.0, patience_s: float = 0.0) -> None:
        options = f"{SESSION_OPTIONS} -c default_transaction_read_only=on"
        bounded = make_conninfo(conninfo, connect_timeout=2)
        self._link = Link(bounded, "bruce-control", deadline_s=deadline_s, options=options)
        self._patience_s = patience_s

    def rows(self, ids: Sequence[str]) -> list[StoreRow]:
        """What Postgres holds of each of these ids (at most CHUNK_IDS of them)."""
        return [StoreRow(*row) for row in self._ask(_STORES, ids)]

    def without_rows(self, ids: Sequence[str]) -> list[str]:
        """Those of these ids that lack their payment or their outbox row."""
        return [row[0] for row in self._ask(_WITHOUT_ROWS, ids)]

    def places(self, ids: Sequence[str]) -> list[Place]:
        """Where those of these ids that are published lie."""
        return [Place(*row) for row in self._ask(_PLACES, ids)]

    def attempts(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The lines of attempts.jsonl for these ids."""
        names = ("id", "round", "try", "at", "ms", "status", "error", "by", "partition", "offset", "next", "red")
        for row in self._ask(_ATTEMPTS, ids):
            yield {"k": "attempt", **dict(zip(names, row, strict=True))}

    def redeliveries(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The lines of redeliveries.jsonl for these ids."""
        names = ("number", "id", "at", "reason", "before", "published", "by", "partition", "offset", "ended", "as")
        for row in self._ask(_REDELIVERIES, ids):
            yield {"k": "redelivery", **dict(zip(names, row, strict=True))}

    def pruned_to(self) -> float | None:
        """The newest acceptance, in Unix seconds, among all payments that retention has deleted; None: none was."""

        def work(connection: Connection) -> float | None:
            row = connection.execute(_PRUNED_TO).fetchone()
            return row[0] if row else None

        return self._run(work)

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()

    def _ask(self, statement: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        known = [transaction_id for transaction_id in ids if _UUID.fullmatch(transaction_id)]
        if not known:
            return []

        def work(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(statement.encode(), [known], binary=True).fetchall()

        return self._run(work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        try:
            return self._link.run(work, until_s=time.monotonic() + self._patience_s)
        except psycopg.Error as error:
            raise SourceError(f"Postgres does not tell: {_first_line(error)}") from error


def compare_tables(conninfo: str, most: int) -> Tables:
    """Whether every payment has its outbox row, and every outbox row its payment, whoever sent them.

    Args:
        conninfo: Postgres.
        most: how many ids are told.

    Raises:
        SourceError: Postgres does not answer, or not within a minute.
    """
    options = f"-c statement_timeout={_TABLES_TIMEOUT_MS} -c default_transaction_read_only=on -c jit=off"
    try:
        with psycopg.connect(make_conninfo(conninfo, connect_timeout=5, options=options)) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            counts = connection.execute(_COUNTS).fetchone()
            passed_over = connection.execute(_PASSED_OVER, [PASSED_OVER_S, most]).fetchall()
            torn = connection.execute(_TORN, [most]).fetchall()
    except psycopg.Error as error:
        raise SourceError(f"Postgres does not compare its tables: {_first_line(error)}") from error
    payments, outbox = counts or (0, 0)
    lacking = tuple((id_, "payments" if orphan else "outbox_events") for id_, orphan in torn)
    return Tables(payments, outbox, lacking, tuple(passed_over))


def open_ids(conninfo: str) -> Iterator[str]:
    """Ids that were accepted and are not recorded as delivered, streamed; any order.

    Raises:
        SourceError: Postgres does not answer.
    """
    options = f"-c statement_timeout={_OPEN_BEFORE_TIMEOUT_MS} -c default_transaction_read_only=on -c jit=off"
    try:
        with (
            psycopg.connect(make_conninfo(conninfo, connect_timeout=5, options=options)) as connection,
            connection.cursor(name="open_before") as cursor,
        ):
            cursor.itersize = 10_000
            cursor.execute(_OPEN_BEFORE)
            for row in cursor:
                yield row[0]
    except psycopg.Error as error:
        raise SourceError(f"Postgres does not tell which ids are open: {_first_line(error)}") from error


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
