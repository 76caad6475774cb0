"""The transactions as a living list: the newest ones and all that are open, each brought up to date as it goes on.

What it costs follows from what happens, not from what lies in the tables: ids of the last seconds, then the rows of new
ids and of those that are not delivered yet. Payments commit out of order, so the last seconds are read again each time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from control_room.tracking import transactions_sql as sql
from control_room.tracking.listing import DONE, Listing, Query, arranged
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.pipeline import connect
from control_room.tracking.transactions import TransactionRow

HELD: Final = 50_000
"""Rows kept: some 40 MB. Older ones are found by `find_transaction` and `list_transactions`."""
FIRST: Final = 2_000
"""Newest payments read at the start; and as many that are open, oldest first."""
PER_LOOK: Final = 1_000
"""Open rows that are asked about again per look; with more open they take turns."""
OVERLAP_S: Final = 3.0
"""How late a payment may commit behind a newer one and still be seen."""


class TransactionFeed:
    """Reads one Postgres. `read` is one look; `ask` may be called from any thread."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self._held: dict[str, TransactionRow] = {}
        self._open: dict[str, None] = {}
        self._turn: deque[str] = deque()
        self._since_s: float | None = None
        self._seen = 0
        self._query = Query()
        self._lock = threading.Lock()

    def ask(self, query: Query) -> None:
        """From the next look on, this is what is listed."""
        with self._lock:
            self._query = query

    def read(self) -> Listing:
        """One look. Raises SourceError where Postgres does not answer."""
        connection = self._connected()
        try:
            first = self._since_s is None
            ids = self._ids(connection)
            fresh = [transaction_id for transaction_id in ids if transaction_id not in self._held]
            again = self._next_open(set(fresh)) + self._redelivered(connection)
            changed = self._bring(connection, [*fresh, *dict.fromkeys(again)])
        except psycopg.Error as error:
            self.close()
            raise SourceError(f"Postgres: {first_line(error)}") from error
        self._seen += 0 if first else len(fresh)
        self._since_s = max((self._since_s or 0.0, *(row.accepted_at_s for row in changed)))
        self._drop_old()
        with self._lock:
            query = self._query
        return self._listing(query, changed)

    def close(self) -> None:
        """Closes the connection; the next look opens one again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._conninfo)
        return self._connection

    def _ids(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Oldest first."""
        if self._since_s is None:
            found = [each for (each,) in connection.execute(sql.OPEN_IDS.encode(), {"limit": FIRST})]
            newest = connection.execute(sql.IDS_SINCE.encode(), {"since_s": 0, "limit": FIRST})
            return [*found, *(each for (each,) in newest if each not in set(found))][::-1]
        given = {"since_s": self._since_s - OVERLAP_S, "limit": HELD}
        return [each for (each,) in connection.execute(sql.IDS_SINCE.encode(), given)][::-1]

    def _next_open(self, without: set[str]) -> list[str]:
        """The open ones to ask about: all while they are few, else in turns."""
        if len(self._open) <= PER_LOOK:
            return [each for each in self._open if each not in without]
        if not self._turn:
            self._turn.extend(self._open)
        chosen: list[str] = []
        while self._turn and len(chosen) < PER_LOOK:
            each = self._turn.popleft()
            if each in self._open and each not in without:
                chosen.append(each)
        return chosen

    def _redelivered(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Dead-lettered ones that are held and are being redelivered: nobody would look at them again."""
        found = connection.execute(sql.REDELIVERED_IDS.encode(), {"limit": PER_LOOK})
        return [each for (each,) in found if each in self._held]

    def _bring(self, connection: psycopg.Connection[Any], ids: list[str]) -> list[TransactionRow]:
        """Reads these rows; those that are new or changed."""
        changed = []
        for begin in range(0, len(ids), PER_LOOK):
            with connection.cursor(row_factory=dict_row) as cursor:
                found = cursor.execute(sql.BY_IDS.encode(), {"ids": ids[begin : begin + PER_LOOK]}).fetchall()
            for record in found:
                row = TransactionRow(**record)
                before = self._held.get(row.transaction_id)
                if before is None or _differs(before, row):
                    self._held[row.transaction_id] = row
                    changed.append(row)
                if row.state in DONE:
                    self._open.pop(row.transaction_id, None)
                else:
                    self._open[row.transaction_id] = None
        return sorted(changed, key=lambda row: row.accepted_at_s)

    def _drop_old(self) -> None:
        """Lets go of the oldest that are done once a tenth too many are held."""
        if len(self._held) <= HELD * 1.1:
            return
        done = sorted((row for row in self._held.values() if row.state in DONE), key=lambda row: row.accepted_at_s)
        for row in done[: len(self._held) - HELD]:
            del self._held[row.transaction_id]

    def _listing(self, query: Query, changed: list[TransactionRow]) -> Listing:
        now_s = time.time()
        oldest = min((self._held[each] for each in self._open), key=lambda row: row.accepted_at_s, default=None)
        rows = arranged(self._held.values(), query, now_s)
        return Listing(query, rows, len(self._held), len(self._open), oldest, tuple(changed), self._seen)


def _differs(before: TransactionRow, now: TransactionRow) -> bool:
    """Whether anything but the passing of time changed."""
    return (before.state, before.attempts_total, before.round, before.published_at_s, before.republished) != (
        now.state,
        now.attempts_total,
        now.round,
        now.published_at_s,
        now.republished,
    ) or before.next_due_at_s != now.next_due_at_s
