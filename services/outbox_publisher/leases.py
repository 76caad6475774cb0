"""The leases on outbox rows: claim, give back, look. All SQL of the publisher that is not marking.

Each is one short statement on an autocommit connection: no transaction is ever open while Kafka is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.common.postgres import Connection

_CLAIM: Final = """
WITH due AS (
    SELECT transaction_id, claimed_by IS NOT NULL AS taken_over
      FROM outbox_events
     WHERE published_at IS NULL
       AND created_at NOT BETWEEN clock_timestamp() - make_interval(secs => %b) AND clock_timestamp()
       AND (claimed_until IS NULL
            OR claimed_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => %b))
     ORDER BY sequence
     LIMIT %b
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE outbox_events o
       SET claimed_by = %b, claimed_until = clock_timestamp() + make_interval(secs => %b)
      FROM due
     WHERE o.transaction_id = due.transaction_id
 RETURNING o.transaction_id, due.taken_over
)
SELECT c.transaction_id::text, p.canonical, (extract(epoch FROM p.accepted_at) * 1000)::bigint, c.taken_over
  FROM claimed c
 CROSS JOIN LATERAL (SELECT canonical, accepted_at FROM payments WHERE transaction_id = c.transaction_id LIMIT 1) p
"""
"""Locks only the rows it takes and passes over locked ones, so publishers never wait for each other or for a marking.
Always from the front of the partial index, never from a remembered place: ids commit out of order.
The limit within LATERAL makes the planner look each payment up: where statistics take `payments` for empty (it was
looked at while one transaction filled it) it read the whole table instead, 6 s for 500 of 100,000 rows.
What lies in the future (a row made then, a lease of many times our own) was written before the server's clock was set
back: it is due now, not when that time comes."""
FURTHEST_LEASES: Final = 10
"""So many of our leases ahead no other publisher's can end, whatever its settings."""

_RELEASE: Final = """
UPDATE outbox_events SET claimed_by = NULL, claimed_until = NULL
 WHERE transaction_id = ANY(%b::text[]::uuid[]) AND claimed_by = %b
"""
"""Locks the rows it gives back; a lease that somebody else took over meanwhile stays theirs."""

_RELEASE_OWN: Final = """
UPDATE outbox_events SET claimed_by = NULL, claimed_until = NULL WHERE published_at IS NULL AND claimed_by = %b
"""
"""As above, for a member that starts again and need not wait for its former self's leases. Reads all that pends."""

_LOOK: Final = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox_events WHERE published_at IS NULL LIMIT 100000) AS waiting),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - created_at)
                   FROM outbox_events WHERE published_at IS NULL ORDER BY sequence LIMIT 1), 0)::float8
"""
"""Reads the partial index, up to a limit: cheap whatever waits."""


class Claimed(NamedTuple):
    """A row that is ours until its lease runs out."""

    transaction_id: str
    canonical: bytes
    accepted_at_ms: int
    taken_over: bool
    """Whether another claim had run out on it."""


def claim(connection: Connection, member: str, *, limit: int, grace_s: float, lease_s: float) -> list[Claimed]:
    """Up to `limit` rows older than `grace_s` that nobody holds, ours for `lease_s` from now.

    Raises:
        psycopg.Error: nothing is claimed, or it is and nobody knows: such rows come back with their lease.
    """
    furthest_s = FURTHEST_LEASES * lease_s
    given = [grace_s, furthest_s, limit, member, lease_s]
    rows = connection.execute(_CLAIM, given, prepare=True, binary=True).fetchall()
    return [Claimed(*row) for row in rows]


def release(connection: Connection, member: str, ids: Sequence[str]) -> int:
    """Gives rows back at once; how many. Raises psycopg.Error."""
    return connection.execute(_RELEASE, [sorted(ids), member]).rowcount


def release_own(connection: Connection, member: str) -> int:
    """Gives back whatever an earlier process of this member held; how many rows. Raises psycopg.Error."""
    return connection.execute(_RELEASE_OWN, [member]).rowcount


class Depth(NamedTuple):
    """What waits in the outbox."""

    pending: int
    """Rows not published, counted up to 100,000."""
    oldest_s: float
    """Age of the oldest of them in seconds; 0 where nothing waits."""


def look(connection: Connection) -> Depth:
    """What waits now. Raises psycopg.Error."""
    row = connection.execute(_LOOK).fetchone()
    return Depth(*row) if row else Depth(0, 0.0)
