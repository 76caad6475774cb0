"""Retention: what was delivered long ago goes, a few hundred payments at a time; nothing else ever does.

A payment goes with its outbox row, its delivery, its attempts and its redeliveries, in one transaction, or not at all:
no reader ever sees a half. It goes when it was accepted, published and delivered before the retention began, and no
redelivery of it is open or younger. What is dead-lettered, or still on its way, stays for ever.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import psycopg

from services.common.postgres import Connection
from services.outbox_publisher import metrics

log = logging.getLogger(__name__)
_LOCK_ID: Final = 0x7072756E65
"""Any constant: the advisory lock of the one who prunes. Another publisher leaves it to that one."""

_LOOK: Final = """
SELECT accepted_at, transaction_id::text FROM payments
 WHERE accepted_at < now() - make_interval(secs => %b)
   AND (accepted_at, transaction_id) > (%b::timestamptz, %b::text::uuid)
 ORDER BY accepted_at, transaction_id LIMIT %b
"""
"""Drives from payments_accepted_at, which is there for the control room: pruning costs the way of a payment no index of
its own. Locks nothing."""

_LOCK: Final = """
SELECT i.id::text
  FROM unnest(%b::text[]::uuid[]) AS i (id)
 CROSS JOIN LATERAL (
       SELECT FROM deliveries
        WHERE transaction_id = i.id AND state = 'delivered' AND delivered_at < now() - make_interval(secs => %b)
          FOR UPDATE SKIP LOCKED) d
 CROSS JOIN LATERAL (
       SELECT FROM outbox_events WHERE transaction_id = i.id AND published_at IS NOT NULL FOR UPDATE SKIP LOCKED) o
"""
"""Locks the delivery and the outbox row of what may go, and passes over what somebody else is working on: the deleting
below then waits for nobody. Whoever asks for a redelivery locks the same outbox row. The locking within LATERAL keeps
each lookup one by primary key: as a plain join it read a table of 100,000 rows from end to end."""

_PRUNE: Final = """
WITH old AS MATERIALIZED (
    SELECT i.id FROM unnest(%b::text[]::uuid[]) AS i (id)
     WHERE NOT EXISTS (SELECT FROM redeliveries r
                        WHERE r.transaction_id = i.id
                          AND (r.ended_at IS NULL OR r.ended_at >= now() - make_interval(secs => %b)))
), attempts AS (
    DELETE FROM delivery_attempts WHERE transaction_id = ANY (ARRAY(SELECT id FROM old))
), redelivered AS (
    DELETE FROM redeliveries WHERE transaction_id = ANY (ARRAY(SELECT id FROM old))
), delivered AS (
    DELETE FROM deliveries WHERE transaction_id = ANY (ARRAY(SELECT id FROM old))
), outbox AS (
    DELETE FROM outbox_events WHERE transaction_id = ANY (ARRAY(SELECT id FROM old))
), paid AS (
    DELETE FROM payments WHERE transaction_id = ANY (ARRAY(SELECT id FROM old)) RETURNING accepted_at
), noted AS (
    UPDATE retention
       SET pruned = pruned + (SELECT count(*) FROM paid),
           pruned_to = greatest(pruned_to, (SELECT max(accepted_at) FROM paid))
     WHERE EXISTS (SELECT FROM paid)
)
SELECT count(*) FROM paid
"""
"""A statement of its own after the locking: its snapshot shows every redelivery that was asked for before the lock. Ids
as arrays, for a join reads the table whole where its statistics are from when it was short."""


class Place(NamedTuple):
    """How far a sweep has come."""

    accepted_at: Any
    """A timestamp as Postgres gave it, or `-infinity`."""
    transaction_id: str


START: Final = Place("-infinity", "00000000-0000-0000-0000-000000000000")
"""Before every payment."""


class Pruned(NamedTuple):
    """What one batch did."""

    payments: int
    """That went."""
    place: Place | None
    """Where the next batch goes on; None where nothing older than the retention is left to look at."""


def prune(connection: Connection, *, after: Place, limit: int, retention_s: float) -> Pruned | None:
    """Looks at the `limit` payments after `after` that are older than `retention_s`, and prunes those that may go.

    None where another publisher is pruning at this moment.

    Raises:
        psycopg.Error: nothing went, or it is not known whether it did; repeating is harmless.
    """
    with connection.transaction():
        taken = connection.execute("SELECT pg_try_advisory_xact_lock(%b)", [_LOCK_ID]).fetchone()
        if not taken or not taken[0]:
            return None
        looked = connection.execute(_LOOK, [retention_s, *after, limit], prepare=True).fetchall()
        place = Place(*looked[-1]) if len(looked) == limit else None
        ids = [row[1] for row in looked]
        locked = connection.execute(_LOCK, [ids, retention_s], prepare=True).fetchall() if ids else []
        if not locked:
            return Pruned(0, place)
        gone = connection.execute(_PRUNE, [[row[0] for row in locked], retention_s], prepare=True).fetchone()
        return Pruned(gone[0] if gone else 0, place)


Run = Callable[[Callable[[Connection], Any]], Any]
"""Runs a function on the publisher's connection. Raises psycopg.Error."""
MOST_ROWS: Final = 500
_FEWEST_ROWS: Final = 20
_BATCH_S: Final = 0.08
"""What a batch should take: the loop sends nothing meanwhile. A part of it are its five ways to Postgres, which take as
long for few rows as for many."""
SHARE: Final = 0.25
"""Of the time that pruning may take: others want the disk too. At a tenth 235 payments a second went on a machine that
took 900: what is kept grew."""
_BETWEEN_SWEEPS_S: Final = 60.0
"""From the end of what is old to the next look from the front: what is old and not delivered is read again then."""


def rows_next(rows: int, took_s: float) -> int:
    """How many payments the next batch looks at, where one of `rows` took `took_s`: half as many to twice as many."""
    fitting = round(rows * _BATCH_S / max(took_s, 0.001))
    return min(MOST_ROWS, max(_FEWEST_ROWS, rows // 2, min(fitting, 2 * rows)))


class Retention:
    """The publisher's pruning. Not for several threads."""

    def __init__(self, retention_s: float, run: Run) -> None:
        """`retention_s` is how long what is delivered is kept; 0: for ever."""
        self._retention_s = retention_s
        self._run = run
        self._rows = MOST_ROWS
        self._place = START
        self._at_s = 0.0
        self._gone = 0

    @property
    def due_in_s(self) -> float:
        """Seconds until the next batch."""
        return max(0.0, self._at_s - time.monotonic()) if self._retention_s else float("inf")

    def look(self) -> None:
        """Prunes a batch where it is time to.

        Failure policy: open. A batch that Postgres does not finish in time is made smaller and tried again later.

        Raises:
            psycopg.Error: Postgres does not answer, or refuses it otherwise.
        """
        if self.due_in_s > 0:
            return
        began_s = time.monotonic()
        self._at_s = began_s + _BETWEEN_SWEEPS_S  # where it fails
        work = partial(prune, after=self._place, limit=self._rows, retention_s=self._retention_s)
        try:
            done: Pruned | None = self._run(work)
        except (psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected) as error:
            log.warning("pruning takes too long, going on with fewer rows reason=%s", str(error).strip())
            self._rows = max(_FEWEST_ROWS, self._rows // 4)
            return
        took_s = time.monotonic() - began_s
        self._rows = rows_next(self._rows, took_s)
        if done is not None:
            self._gone += done.payments
            metrics.PRUNED.inc(done.payments)
        if done is None or done.place is None:
            self._end_sweep()
            return
        self._place = done.place
        self._at_s = time.monotonic() + took_s * (1 / SHARE - 1)

    def _end_sweep(self) -> None:
        if self._gone:
            log.info("pruned what was delivered long ago payments=%d", self._gone)
        self._gone, self._place, self._at_s = 0, START, time.monotonic() + _BETWEEN_SWEEPS_S
