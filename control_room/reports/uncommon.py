"""The ids that were not plain deliveries: a bounded choice of them, the weightiest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from control_room.verify.classes import VIOLATIONS, TransactionClass
from control_room.verify.deliveries import Delivery

SHOWN: Final = 500
"""Rows in a report: more than anyone reads, and few enough for a small file; deliveries.csv has them all."""
DUPLICATED: Final = "duplicated"
_ORDER: Final = (
    *VIOLATIONS,
    TransactionClass.UNKNOWN,
    TransactionClass.LATE,
    TransactionClass.RECOVERED,
    TransactionClass.UNANSWERED,
    TransactionClass.EARLIER,
    DUPLICATED,
    TransactionClass.REFUSED,
    TransactionClass.FOREIGN,
)


class Uncommon:
    """Keeps the first ids of each class that is not `delivered`, and of those that were delivered more than once."""

    __slots__ = ("_counts", "_kept")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kept: dict[str, list[Delivery]] = {}

    def see(self, row: Delivery) -> None:
        """Looks at one id."""
        if row.outcome is TransactionClass.DELIVERED and not row.duplicates:
            return
        kind = DUPLICATED if row.outcome is TransactionClass.DELIVERED else row.outcome
        self._counts[kind] += 1
        kept = self._kept.setdefault(kind, [])
        if len(kept) < SHOWN:
            kept.append(row)

    @property
    def count(self) -> int:
        """How many there are, kept or not."""
        return self._counts.total()

    def rows(self) -> Iterator[Delivery]:
        """At most SHOWN of them. Each kind gets an even share first, so that one kind alone never fills the table."""
        share = SHOWN // max(1, len(self._kept))
        spare = SHOWN - sum(min(share, len(rows)) for rows in self._kept.values())
        for kind in _ORDER:
            kept = self._kept.get(kind, ())
            more = min(spare, max(0, len(kept) - share))
            spare -= more
            yield from kept[: min(share, len(kept)) + more]
