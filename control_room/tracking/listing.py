"""A list of transactions: what is asked for, and what was found. Values alone; who reads them is `feed`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, overload, runtime_checkable

from control_room.tracking.filter import ANYTHING, Filter, undelivered_s

if TYPE_CHECKING:  # a screen that only draws rows loads no database client
    from control_room.tracking.transactions import TransactionRow

DONE: Final = frozenset({"delivered", "dead"})
LATEST: Final = 200
"""Deliveries of which the latency is told."""


class Order(StrEnum):
    """What stands first."""

    NEWEST = "newest first"
    OLDEST_OPEN = "oldest undelivered first"
    MOST_ATTEMPTS = "most attempts first"


@dataclass(frozen=True, slots=True)
class Query:
    """What a list is to show."""

    filter: Filter = ANYTHING
    order: Order = Order.NEWEST


@dataclass(frozen=True, slots=True)
class Listing:
    """The transactions that fit, in order, and what is known of all that are held."""

    query: Query
    rows: Sequence[TransactionRow] = ()
    held: int = 0
    """How many are kept, fitting or not."""
    open: int = 0
    """How many of these are not delivered."""
    oldest_open: TransactionRow | None = None
    changed: tuple[TransactionRow, ...] = ()
    """Rows that are new or other than at the look before, oldest first."""
    seen: int = 0
    """How many payments were seen arriving since the list was opened: a pace, no total."""
    unread: int = 0
    """How many of these are not in the list yet: in a rush, what was delivered is read in its turn."""
    latencies_s: tuple[float, ...] = ()
    """From acceptance to delivery, of the latest LATEST deliveries that are held, fitting or not; in no order."""


def latencies_s(rows: Iterable[TransactionRow]) -> list[float]:
    """From acceptance to delivery, of those of `rows` that are delivered, the one delivered last at the end."""
    delivered = [(row.delivered_at_s, row.accepted_at_s) for row in rows if row.delivered_at_s is not None]
    return [max(0.0, delivered_at_s - accepted_at_s) for delivered_at_s, accepted_at_s in sorted(delivered)]


def arranged(rows: Iterable[TransactionRow], query: Query, now_s: float) -> tuple[TransactionRow, ...]:
    """Those of `rows` that fit, in the order asked for."""
    fitting = [row for row in rows if query.filter.fits(row, now_s)] if query.filter != ANYTHING else list(rows)
    if query.order is Order.OLDEST_OPEN:
        fitting.sort(key=lambda row: (row.state in DONE, row.accepted_at_s))
    elif query.order is Order.MOST_ATTEMPTS:
        fitting.sort(key=lambda row: (-row.attempts_total, -undelivered_s(row, now_s)))
    else:
        fitting.sort(key=lambda row: row.accepted_at_s, reverse=True)
    return tuple(fitting)


@runtime_checkable
class Packed(Protocol):
    """Rows that are made when they are asked for (`held.Rows`): what goes through all of them has a faster way."""

    def find(self, prefix: str) -> int | None:
        """Where the first one stands whose id begins with `prefix`; None where none does."""

    def as_before(self, before: Any) -> Sequence[TransactionRow]:
        """The transactions of `before`, in its order, as they are here."""

    def count_without(self, before: Any) -> int:
        """How many are here and not in `before`."""


def find(rows: Sequence[TransactionRow], prefix: str) -> int | None:
    """Where the first one of `rows` stands whose id begins with `prefix`; None where none does."""
    if isinstance(rows, Packed):
        return rows.find(prefix)
    return next((at for at, row in enumerate(rows) if row.transaction_id.startswith(prefix)), None)


def as_before(rows: Sequence[TransactionRow], before: Sequence[TransactionRow]) -> Sequence[TransactionRow]:
    """The transactions of `before`, in its order, as they are in `rows`."""
    if isinstance(rows, Packed) and type(rows) is type(before):
        return rows.as_before(before)
    known = {row.transaction_id: row for row in rows}
    return [known[row.transaction_id] for row in before if row.transaction_id in known]


def count_without(rows: Sequence[TransactionRow], before: Sequence[TransactionRow]) -> int:
    """How many are in `rows` and not in `before`."""
    if isinstance(rows, Packed) and type(rows) is type(before):
        return rows.count_without(before)
    known = {row.transaction_id for row in before}
    return sum(row.transaction_id not in known for row in rows)


class Headed(Sequence["TransactionRow"]):
    """One more row in front of others, which stay as they are."""

    def __init__(self, head: TransactionRow, rest: Sequence[TransactionRow]) -> None:
        self._head = head
        self._rest = rest

    def __len__(self) -> int:
        """One more than the others."""
        return len(self._rest) + 1

    @overload
    def __getitem__(self, index: int) -> TransactionRow: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TransactionRow]: ...

    def __getitem__(self, index: int | slice) -> TransactionRow | Sequence[TransactionRow]:
        """One of them, or a part."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index if index >= 0 else index + len(self)
        return self._head if at == 0 else self._rest[at - 1]

    def find(self, prefix: str) -> int | None:
        """See `find`."""
        if self._head.transaction_id.startswith(prefix):
            return 0
        place = find(self._rest, prefix)
        return None if place is None else place + 1
