"""Payments and their outbox rows, written together: one statement and one COMMIT for a group of events."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from services.common.event import Event
from services.common.outbox import SESSION_OPTIONS
from services.common.postgres import Connection

WRITER_OPTIONS: Final = f"{SESSION_OPTIONS} -c synchronous_commit=on"
"""For the session that commits: a 201 means "on disk", whatever the server's or the role's default is."""

_INSERT: Final = """
WITH given AS (
    SELECT *
      FROM unnest(%b::text[]::uuid[], %b::timestamp[], %b::text[], %b::text[], %b::text[], %b::text[], %b::numeric[],
                  %b::text[], %b::bytea[])
        AS g (transaction_id, occurred_at, sender_name, sender_upi_id, receiver_name, receiver_upi_id, amount_inr,
              status, canonical)
), paid AS (
    INSERT INTO payments (transaction_id, occurred_at, sender_name, sender_upi_id, receiver_name, receiver_upi_id,
                          amount_inr, status, canonical, accepted_by)
    SELECT g.*, %b FROM given g
        ON CONFLICT (transaction_id) DO NOTHING
    RETURNING transaction_id, accepted_at
), queued AS (
    INSERT INTO outbox_events (transaction_id, created_at) SELECT transaction_id, accepted_at FROM paid
)
SELECT transaction_id::text, (extract(epoch FROM accepted_at) * 1000)::bigint FROM paid
"""
"""Both rows or none: one statement on an autocommit connection is one transaction. Waits for another replica that is
inserting the same id at this moment; ids come sorted, so two groups with the same ids cannot wait for each other in
a circle."""

_STORED: Final = "SELECT transaction_id::text, canonical FROM payments WHERE transaction_id = ANY(%b::text[]::uuid[])"
"""No lock: payments never change. A statement of its own, since the first one's snapshot may be older than the row."""


class Outcome(Enum):
    """What became of one event."""

    ACCEPTED = "accepted"
    """Written and committed now."""
    DUPLICATE = "duplicate"
    """The same content was committed before."""
    CONFLICT = "conflict"
    """Another content was committed under this id."""


class Accepted(NamedTuple):
    """An event that is committed and not in Kafka yet."""

    transaction_id: str
    canonical: bytes
    accepted_at_ms: int


class Settled(NamedTuple):
    """What became of a group."""

    outcomes: list[Outcome]
    """In the order of the events given."""
    accepted: list[Accepted]


def commit_group(connection: Connection, events: Sequence[Event], member: str) -> Settled:
    """Commits `events` together and tells what became of each. Safe to repeat: see below. With no event it only asks
    the server for a sign of life.

    Repeated after a lost answer, events that the first try did commit are told as duplicates (of themselves): their
    outbox rows then wait for the publisher, and their clients are told the truth, that the payment is stored.

    Raises:
        psycopg.Error: nothing is known to be committed.
    """
    if not events:
        connection.execute("SELECT 1")
        return Settled([], [])
    # The same id twice in one group: the first stands for all, the others are compared with what is stored then.
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.transaction_id, event)
    times: dict[str, int] = {}
    stored: dict[str, bytes] = {}
    while left := sorted(first.keys() - stored.keys()):
        # Once around, as a rule: left over is what retention has pruned between the two statements.
        fresh = _insert(connection, [first[key] for key in left], member)
        times |= fresh
        stored |= {key: first[key].canonical for key in fresh}
        if len(fresh) < len(left):
            stored |= _stored(connection, [key for key in left if key not in fresh])
    accepted = [Accepted(key, first[key].canonical, at_ms) for key, at_ms in times.items()]
    return Settled(_judge(events, stored, set(times)), accepted)


def _judge(events: Sequence[Event], stored: dict[str, bytes], fresh: set[str]) -> list[Outcome]:
    """Each event's outcome; `fresh` are the ids written just now, each of them accepted once and only once."""
    outcomes = []
    unanswered = set(fresh)
    for event in events:
        if event.transaction_id in unanswered:
            unanswered.discard(event.transaction_id)
            outcomes.append(Outcome.ACCEPTED)
        elif stored[event.transaction_id] == event.canonical:
            outcomes.append(Outcome.DUPLICATE)
        else:
            outcomes.append(Outcome.CONFLICT)
    return outcomes


def _insert(connection: Connection, events: list[Event], member: str) -> dict[str, int]:
    columns = zip(
        *(
            (
                event.transaction_id,
                event.timestamp,
                event.sender_name,
                event.sender_upi_id,
                event.receiver_name,
                event.receiver_upi_id,
                event.amount,
                event.status,
                event.canonical,
            )
            for event in events
        ),
        strict=True,
    )
    written = connection.execute(_INSERT, [*map(list, columns), member], prepare=True, binary=True)
    return dict(written.fetchall())


def _stored(connection: Connection, ids: list[str]) -> dict[str, bytes]:
    return dict(connection.execute(_STORED, [ids], prepare=True, binary=True).fetchall())
