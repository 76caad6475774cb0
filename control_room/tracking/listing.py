"""A list of transactions: what is asked for, and what was found. Values alone; who reads them is `feed`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from control_room.tracking.filter import ANYTHING, Filter, undelivered_s

if TYPE_CHECKING:  # a screen that only draws rows loads no database client
    from control_room.tracking.transactions import TransactionRow

DONE: Final = frozenset({"delivered", "dead"})


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
    rows: tuple[TransactionRow, ...] = ()
    held: int = 0
    """How many are kept, fitting or not."""
    open: int = 0
    """How many of these are not delivered."""
    oldest_open: TransactionRow | None = None
    changed: tuple[TransactionRow, ...] = ()
    """Rows that are new or other than at the look before, oldest first."""
    seen: int = 0
    """How many payments were seen arriving since the list was opened: a pace, no total."""


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
