"""The transactions as a living list: the newest ones and all that are open, each brought up to date as it goes on.

What it costs follows from what happens, not from what lies in the tables: ids of the last moment, then the rows of new
ids and of those that are not delivered yet. Payments commit out of order: now and then the last seconds are read again.
And it is bounded: where more come than a list may cost the pipeline, the newest and all that are not delivered are read
as ever, the delivered ones in their turn, and the list tells how many wait for it (`rush`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg.rows import args_row

from control_room.tracking import transactions_sql as sql
from control_room.tracking.held import HeldTransactions
from control_room.tracking.listing import LATEST, Listing, Order, Query, latencies_s
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.pipeline import connect
from control_room.tracking.rush import Rush, Stretch
from control_room.tracking.transactions import TransactionRow

HELD: Final = 1_000_000
"""Rows kept: some 130 MB. Older ones are found by `find_transaction` and `list_transactions`."""
FIRST: Final = 2_000
"""Newest payments read at the start; and as many that are open, oldest first."""
CATCH_UP: Final = 100_000
"""Newest payments that one look takes at most, where a source was silent for long."""
PER_LOOK: Final = 1_000
"""Open rows that are asked about again per look; with more open they take turns."""
OVERLAP_S: Final = 3.0
"""How late a payment may commit behind a newer one and still be seen."""
NEAR_S: Final = 0.5
"""Of these, how much every look reads again: nearly all that come late come within it."""
WHOLE_EVERY_S: Final = 4.0
"""How often all of them are read again: at 2,500 a second they are 7,500 ids, too many for every look."""
RUSH: Final = 500
"""Where more new payments than this come between two looks, most of them are only counted until they are delivered:
then they are read once instead of twice."""
AT_ONCE: Final = 50
"""The newest do not wait all the same: the list shows them at its top."""
DONE_PER_S: Final = 100
"""In a rush so many delivered ones are read a second: a row takes 34 µs of processor time, 20 of them in Postgres."""
AGAIN_S: Final = 2.0
"""After so long a list is put in order again though no row changed: where time alone decides what fits."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one look found to have arrived."""

    late: list[str]
    """Ids of payments that were accepted before the look before and may be new all the same."""
    count: int
    """How many were accepted since."""
    oldest_s: float | None
    newest_s: float | None
    """When the first and the last of these were accepted (Unix)."""
    newest: list[str]
    """Ids of the newest of these, newest first."""
    pages: int
    """How many pages the deliveries have."""


class TransactionFeed:
    """Reads one Postgres. `read` is one look; `ask` may be called from any thread."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self.held = HeldTransactions(HELD)
        """The rows themselves; touched by the thread that reads alone."""
        self._turn: deque[str] = deque()
        self._rush = Rush(OVERLAP_S, CATCH_UP)
        self._pages = 0
        """How many pages the deliveries had at the last look."""
        self._looked_at_s = time.monotonic()
        self._since_s: float | None = None
        self._fresh_at_s = float("-inf")
        self._whole_at_s = float("-inf")
        """When a look last read again all that may have come late."""
        self._whole_to_s = 0.0
        """When the newest payment of that look was accepted."""
        self._seen = 0
        self._brought: list[TransactionRow] = []
        """What changed since the last look that succeeded: one that fails half way has put rows already."""
        self._latencies_s: deque[float] = deque(maxlen=LATEST)
        self._query = Query()
        self._listing = Listing(self._query)
        self._listed_at_s = 0.0
        self._lock = threading.Lock()

    def ask(self, query: Query) -> None:
        """From the next look on, this is what is listed."""
        with self._lock:
            self._query = query

    def read(self) -> Listing:
        """One look. Raises SourceError where Postgres does not answer."""
        connection = self._connected()
        try:
            first, now_s = self._since_s is None, time.monotonic()
            late_s, whole = self._late_s(now_s)
            arrived = self._arrived(connection, late_s)
            rush = arrived.count > RUSH and not first
            newest = self._unknown(arrived.newest[: AT_ONCE if rush else None])
            late = self._unknown(arrived.late)
            asked = self._rush.ask(connection)
            opened = self._open(connection) if first else self._unknown(asked.open_ids)
            now = dict.fromkeys([*opened, *late[::-1], *newest[::-1]])
            again = self._next_open({each.replace("-", "") for each in now}) + self._redelivered(connection)
            now.update(dict.fromkeys(again))
            turn = self._rush.next(connection, self._most_done(now_s, rush=rush), now)
            self._bring(connection, list(now))
            # Last, and one statement: were another to fail after it, these would be put a second time.
            self._bring(connection, self._unknown(turn.ids), unmet=True)
        except psycopg.Error as error:
            self.close()
            raise SourceError(f"Postgres: {first_line(error)}") from error
        changed, self._brought = self._brought, []
        if not first:
            self._seen += len(late) if rush else len(late) + len(newest)
        self._fresh_at_s = time.monotonic() if late or newest else self._fresh_at_s
        self._go_on(arrived, now_s, rush=rush)
        self._rush.listed(changed)
        self._rush.settle(asked)
        self._rush.read(turn)  # not before all of it is read: what failed is read again
        self._latencies_s.extend(latencies_s(changed))
        if whole:
            self.held.let_go(late_s - 1.0)
            self._rush.forget(late_s)
            self._whole_at_s, self._whole_to_s = now_s, self._since_s or 0.0
        with self._lock:
            query = self._query
        return self._listed(query, tuple(sorted(changed, key=lambda row: row.accepted_at_s)))

    def close(self) -> None:
        """Closes the connection; the next look opens one again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo)
        return self._connection

    def _late_s(self, now_s: float) -> tuple[float, bool]:
        """From which acceptance on ids are read again, and whether these are all that may have come late."""
        since_s = self._since_s or 0.0
        if self._since_s is None:
            return since_s, True
        if self._whole_at_s - self._fresh_at_s >= OVERLAP_S:
            return since_s, False  # whatever was late has come: an idle list does not read its last seconds again
        if now_s - self._whole_at_s >= WHOLE_EVERY_S:
            return self._whole_to_s - OVERLAP_S, True
        return since_s - NEAR_S, False

    def _arrived(self, connection: psycopg.Connection[Any], late_s: float) -> Arrived:
        """What arrived since the look before, and what came late from `late_s` on."""
        limit, newest = (FIRST, FIRST) if self._since_s is None else (CATCH_UP, RUSH)
        since_s, spans = self._since_s or 0.0, self._rush.spans(late_s)
        late_end_s = spans.pop()[0] if spans and spans[-1][1] >= since_s else since_s
        given: dict[str, Any] = {
            "since_s": since_s,
            "late_s": late_s,
            "late_end_s": late_end_s,
            "limit": limit,
            "newest": newest,
        }
        given |= {"begins_s": [begin_s for begin_s, _ in spans], "ends_s": [end_s for _, end_s in spans]}
        found = connection.execute(sql.ARRIVED.encode(), given).fetchone()
        late, count, oldest_s, newest_s, ids, pages = found or (None, 0, None, None, None, 0)
        return Arrived(sql.separate(late), count, oldest_s, newest_s, sql.separate(ids), pages)

    def _open(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Those that were open before the list was, oldest first."""
        return [each for (each,) in connection.execute(sql.OPEN_IDS.encode(), {"limit": FIRST})]

    def _unknown(self, transaction_ids: Iterable[str]) -> list[str]:
        return [each for each in transaction_ids if not self.held.knows(each)]

    def _most_done(self, now_s: float, *, rush: bool) -> int:
        """How many of those that wait for their turn may be read now."""
        return min(PER_LOOK, int(DONE_PER_S * (now_s - self._looked_at_s))) if rush else PER_LOOK

    def _go_on(self, arrived: Arrived, now_s: float, *, rush: bool) -> None:
        """The next look begins where this one ended."""
        since_s, newest_s = self._since_s or 0.0, arrived.newest_s
        if rush and newest_s is not None and arrived.oldest_s is not None:
            begin_s = since_s if arrived.count < CATCH_UP else arrived.oldest_s
            self._rush.add(Stretch(begin_s, newest_s, arrived.count, self._pages))
        self._since_s = since_s if newest_s is None else newest_s
        self._looked_at_s, self._pages = now_s, arrived.pages

    def _next_open(self, without: set[str]) -> list[str]:
        """The open ones to ask about, 32 hex digits each: all while they are few, else in turns."""
        if self.held.open_count <= PER_LOOK:
            return [each for each in self.held.open_ids if each not in without]
        if not self._turn:
            self._turn.extend(self.held.open_ids)
        chosen: list[str] = []
        while self._turn and len(chosen) < PER_LOOK:
            each = self._turn.popleft()
            if self.held.is_open(each) and each not in without:
                chosen.append(each)
        return chosen

    def _redelivered(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Dead-lettered ones that are being redelivered: open again, though nobody would look at them."""
        found = [each for (each,) in connection.execute(sql.REDELIVERED_IDS.encode(), {"limit": PER_LOOK})]
        self.held.recall(self._unknown(found))
        return found

    def _bring(self, connection: psycopg.Connection[Any], ids: list[str], *, unmet: bool = False) -> None:
        """Reads these rows, and notes those that are new or changed. `unmet`: none of them is held."""
        for begin in range(0, len(ids), PER_LOOK):
            with connection.cursor(row_factory=args_row(TransactionRow)) as cursor:
                found = cursor.execute(sql.BY_IDS.encode(), {"ids": _array(ids[begin : begin + PER_LOOK])}).fetchall()
            self._brought += [row for row in found if self.held.put(row, unmet=unmet)]

    def _listed(self, query: Query, changed: tuple[TransactionRow, ...]) -> Listing:
        """The same object as before while there is nothing to tell: nobody then draws it again."""
        now_s = time.time()
        ages = query.order is Order.MOST_ATTEMPTS or any(each.figure == "age" for each in query.filter.figures)
        due = self._listed_at_s == 0.0 or (ages and now_s >= self._listed_at_s + AGAIN_S)
        unread, seen = self._rush.unread, self._seen + self._rush.seen
        if changed or due or (query, unread) != (self._listing.query, self._listing.unread):
            held = self.held
            rows, oldest = held.arranged(query, now_s), held.oldest_open(now_s)
            took = tuple(self._latencies_s)
            self._listing = Listing(query, rows, len(held), held.open_count, oldest, changed, seen, unread, took)
            self._listed_at_s = now_s
        elif self._listing.changed:
            self._listing = replace(self._listing, changed=())
        return self._listing


def _array(ids: Iterable[str]) -> str:
    """As Postgres writes an array. A list is written value by value: a quarter of what a look took."""
    return f"{{{','.join(ids)}}}"
