"""The whole pipeline in one snapshot: members, Kafka, outbox, dispatcher, merchant; each part from its own source."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg

from control_room.stack.runtime import MemberStatus, Runtime
from control_room.tracking.http_source import fetch_json
from control_room.tracking.kafka_view import KafkaReader, KafkaStatus
from control_room.tracking.merchant import read_behaviour
from control_room.tracking.parts import Part, SourceError, first_line, gather

SNAPSHOT_DEADLINE_S: Final = 2.9
STATEMENT_TIMEOUT_MS: Final = 2000

# Reads the partial index on what waits: its cost is the backlog's, not the table's. Takes no lock but its own reading.
_OUTBOX_SQL: Final = """
SELECT count(*) AS pending,
       count(*) FILTER (WHERE claimed_until > clock_timestamp()) AS leased,
       extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_age_s
  FROM outbox_events
 WHERE published_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What waits in the outbox."""

    pending: int
    leased: int
    """Of these, how many a publisher holds."""
    oldest_age_s: float
    """Age of the oldest that waits; 0 where none does."""


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """One moment of the pipeline."""

    taken_at_s: float
    """Unix time."""
    runtime: str
    members: Part[list[MemberStatus]]
    kafka: Part[KafkaStatus]
    outbox: Part[OutboxStatus]
    dispatcher: Part[dict[str, Any]]
    """The dispatcher's own words: in flight, retrying, parked, pause, partitions."""
    merchant: Part[dict[str, Any]]
    """How the merchant behaves."""
    links: Part[dict[str, Any]]
    """The proxy of the links, in its own words; empty where the stack has no links."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types; each part as `{"value", "error", "age_s"}`."""
        members = Part(
            [asdict(member) for member in self.members.value] if self.members.value is not None else None,
            self.members.error,
            self.members.age_s,
        )
        outbox = self.outbox.value
        return {
            "taken_at": self.taken_at_s,
            "runtime": self.runtime,
            "members": members.to_json(),
            "kafka": self.kafka.to_json(),
            "outbox": Part(outbox and asdict(outbox), self.outbox.error, self.outbox.age_s).to_json(),
            "dispatcher": self.dispatcher.to_json(),
            "merchant": self.merchant.to_json(),
            "links": self.links.to_json(),
        }


def pipeline_status(runtime: Runtime, deadline_s: float = SNAPSHOT_DEADLINE_S) -> PipelineStatus:
    """The pipeline now, within `deadline_s` whatever is dead. Raises NotRunningError where no stack was started."""
    ends, links = runtime.endpoints(), runtime.links()
    taken_at_s = time.time()
    parts = gather(
        {
            "members": runtime.status,
            "kafka": KafkaReader(ends).read,
            "outbox": lambda: read_outbox(ends.postgres_conninfo),
            "dispatcher": lambda: fetch_json(ends.dispatcher_status_url),
            "merchant": lambda: read_behaviour(ends.merchant_url),
            "links": lambda: {} if links is None else links.state(),
        },
        deadline_s,
    )
    return PipelineStatus(taken_at_s, runtime.name, **parts)


def read_outbox(conninfo: str) -> OutboxStatus:
    """What waits in the outbox. Raises SourceError where Postgres does not answer within about 2 s."""
    reader = OutboxReader(conninfo)
    try:
        return reader.read()
    finally:
        reader.close()


def _outbox(row: tuple[Any, ...]) -> OutboxStatus:
    return OutboxStatus(row[0], row[1], max(0.0, row[2] or 0.0))


class OutboxReader:
    """As `read_outbox`, again and again."""

    def __init__(self, conninfo: str) -> None:
        self._connection = KeptConnection(conninfo)

    def read(self) -> OutboxStatus:
        """As `read_outbox`."""
        return _outbox(self._connection.row(_OUTBOX_SQL))

    def close(self) -> None:
        """Closes the connection; the next look opens one again."""
        self._connection.close()


class KeptConnection:
    """A connection for one question asked often: to connect anew costs ten times the question, and a process there.

    Not for several threads.
    """

    def __init__(self, conninfo: str, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> None:
        self._conninfo = conninfo
        self._statement_timeout_ms = statement_timeout_ms
        self._connection: psycopg.Connection[Any] | None = None

    def row(self, statement: str) -> tuple[Any, ...]:
        """The one row that `statement` gives. Raises SourceError; the next look then connects anew."""
        if self._connection is None:
            self._connection = connect(self._conninfo, self._statement_timeout_ms)
        try:
            row: tuple[Any, ...] | None = self._connection.execute(statement.encode()).fetchone()
        except psycopg.Error as error:
            self.close()
            raise SourceError(f"Postgres: {first_line(error)}") from error
        if row is None:
            raise SourceError("Postgres gave no row")
        return row

    def close(self) -> None:
        """Closes it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(conninfo: str, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> psycopg.Connection[Any]:
    """A read-only connection whose statements end by themselves. Raises SourceError with a sentence."""
    options = f"-c statement_timeout={statement_timeout_ms} -c default_transaction_read_only=on"
    try:
        return psycopg.connect(
            conninfo, connect_timeout=2, options=options, autocommit=True, application_name="bruce-control"
        )
    except psycopg.Error as error:
        raise SourceError(f"Postgres does not answer: {first_line(error)}") from error
