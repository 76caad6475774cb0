"""The transactions as a living list: the newest ones and all that are open, each brought up to date as it goes on.

What it costs follows from what happens, not from what lies in the tables: ids of the last moment, then the rows of new
ids and of those that are not delivered yet. Payments commit out of order: now and then the last seconds are read again.
And it is bounded: where more come than a list may cost the pipeline, the newest and all that are not delivered are read
as ever, the delivered ones in their turn, and the list tells how many wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final

import psycopg
from psycopg.rows import args_row

from control_room.tracking import transactions_sql as sql
from control_room.tracking.held import HeldTransactions
from control_room.tracking.listing import LATEST, Listing, Order, Query, latencies_s
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.pipeline import connect
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
"""Where more new payments than this come between two looks, most of them wait for the next one: by then they are
delivered, and are read once instead of twice."""
AT_ONCE: Final = 100
"""The newest do not wait all the same: the list shows them at its top."""
DONE_PER_S: Final = 200
"""In a rush so many delivered ones are read a second: to ask whether one is delivered costs a quarter of its row."""
AGAIN_S: Final = 2.0
"""After so long a list is put in order again though no row changed: where time alone decides what fits."""


class TransactionFeed:
    """Reads one Postgres. `read` is one look; `ask` may be called from any thread."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self.held = HeldTransactions(HELD)
        """The rows themselves; touched by the thread that reads alone."""
        self._turn: deque[str] = deque()
        self._waiting: dict[str, None] = {}
        """Ids that were seen at the look before and not read, in their order."""
        self._done: dict[str, None] = {}
        """Ids that were delivered when it was their turn and are not read yet; no more than CATCH_UP."""
        self._looked_at_s = time.monotonic()
        self._since_s: float | None = None
        self._fresh_at_s = float("-inf")
        self._whole_at_s = float("-inf")
        """When a look last read again all that may have come late."""
        self._whole_to_s = 0.0
        """When the newest payment of that look was accepted."""
        self._seen = 0
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
            from_s, whole = self._from_s(now_s)
            fresh = [each for each in self._ids(connection, from_s) if not self._knows(each)]
            later = fresh[:-AT_ONCE] if len(fresh) > RUSH and not first else []
            waited = self._open_of_waiting(connection)
            delivered = [each for each in self._waiting if each not in waited]
            done = self._next_done(delivered, now_s, rush=bool(later))
            now = [*waited, *fresh[len(later) :]]
            again = self._next_open({each.replace("-", "") for each in now}) + self._redelivered(connection)
            changed = self._bring(connection, [*now, *dict.fromkeys(again)])
            # Last, and one statement: were another to fail after it, these would be put a second time.
            changed += self._bring(connection, done, unmet=True)
        except psycopg.Error as error:
            self.close()
            raise SourceError(f"Postgres: {first_line(error)}") from error
        self._seen += 0 if first else len(fresh)
        self._fresh_at_s = time.monotonic() if fresh else self._fresh_at_s
        self._since_s = max((self._since_s or 0.0, *(row.accepted_at_s for row in changed)))
        self._latencies_s.extend(latencies_s(changed))
        self._pass_on(delivered, done, later)  # not before all of it is read: what failed is read again
        self._looked_at_s = now_s
        if whole:
            self.held.let_go(from_s - 1.0)
            self._whole_at_s, self._whole_to_s = now_s, self._since_s
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

    def _from_s(self, now_s: float) -> tuple[float, bool]:
        """From which acceptance on ids are read, and whether these are all that may have come late."""
        since_s = self._since_s or 0.0
        if self._since_s is None:
            return since_s, True
        if self._whole_at_s - self._fresh_at_s >= OVERLAP_S:
            return since_s, False  # whatever was late has come: an idle list does not read its last seconds again
        if now_s - self._whole_at_s >= WHOLE_EVERY_S:
            return self._whole_to_s - OVERLAP_S, True
        return since_s - NEAR_S, False

    def _ids(self, connection: psycopg.Connection[Any], from_s: float) -> list[str]:
        """Oldest first."""
        if self._since_s is None:
            found = [each for (each,) in connection.execute(sql.OPEN_IDS.encode(), {"limit": FIRST})]
            return list(dict.fromkeys([*found, *_since(connection, 0.0, FIRST)]))[::-1]
        return _since(connection, from_s, CATCH_UP)[::-1]

    def _knows(self, transaction_id: str) -> bool:
        """Whether it waits, or is held."""
        return transaction_id in self._waiting or transaction_id in self._done or self.held.knows(transaction_id)

    def _open_of_waiting(self, connection: psycopg.Connection[Any]) -> dict[str, None]:
        """Those of the look before that are not delivered yet."""
        if not self._waiting:
            return {}
        found = connection.execute(sql.NOT_DELIVERED.encode(), {"ids": _array(self._waiting)})
        return {each: None for (each,) in found}

    def _next_done(self, delivered: Iterable[str], now_s: float, *, rush: bool) -> list[str]:
        """Of those that were delivered when it was their turn, `delivered` the last, the ones to be read now."""
        most = min(PER_LOOK, int(DONE_PER_S * (now_s - self._looked_at_s))) if rush else PER_LOOK
        return list(islice(chain(self._done, delivered), most))

    def _pass_on(self, delivered: Iterable[str], done: Iterable[str], later: Iterable[str]) -> None:
        """What was read waits no longer; what was delivered unread waits for its turn, the rest for the next look."""
        self._done.update(dict.fromkeys(delivered))
        for each in [*done, *islice(self._done, max(0, len(self._done) - CATCH_UP))]:
            self._done.pop(each, None)
        self._waiting = dict.fromkeys(later)

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
        self.held.recall([each for each in found if not self._knows(each)])
        return found

    def _bring(
        self, connection: psycopg.Connection[Any], ids: list[str], *, unmet: bool = False
    ) -> list[TransactionRow]:
        """Reads these rows; those that are new or changed. `unmet`: none of them is held."""
        changed: list[TransactionRow] = []
        for begin in range(0, len(ids), PER_LOOK):
            with connection.cursor(row_factory=args_row(TransactionRow)) as cursor:
                found = cursor.execute(sql.BY_IDS.encode(), {"ids": _array(ids[begin : begin + PER_LOOK])}).fetchall()
            changed += [row for row in found if self.held.put(row, unmet=unmet)]
        return changed

    def _listed(self, query: Query, changed: tuple[TransactionRow, ...]) -> Listing:
        """The same object as before while there is nothing to tell: nobody then draws it again."""
        now_s = time.time()
        ages = query.order is Order.MOST_ATTEMPTS or any(each.figure == "age" for each in query.filter.figures)
        due = self._listed_at_s == 0.0 or (ages and now_s >= self._listed_at_s + AGAIN_S)
        unread = len(self._waiting) + len(self._done)
        if changed or due or (query, unread) != (self._listing.query, self._listing.unread):
            held = self.held
            rows, oldest = held.arranged(query, now_s), held.oldest_open(now_s)
            took = tuple(self._latencies_s)
            self._listing = Listing(query, rows, len(held), held.open_count, oldest, changed, self._seen, unread, took)
            self._listed_at_s = now_s
        elif self._listing.changed:
            self._listing = replace(self._listing, changed=())
        return self._listing


def _since(connection: psycopg.Connection[Any], since_s: float, limit: int) -> list[str]:
    """Newest first."""
    (text,) = connection.execute(sql.IDS_SINCE.encode(), {"since_s": since_s, "limit": limit}).fetchone() or ("",)
    return text.split(",") if text else []


def _array(ids: Iterable[str]) -> str:
    """As Postgres writes an array. A list is written value by value: a quarter of what a look took."""
    return f"{{{','.join(ids)}}}"
