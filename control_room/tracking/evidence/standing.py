"""Who stands where: every id of a run that the client was told about, and the ones still open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from control_room.tracking.evidence.flags import FlagsById
from control_room.tracking.evidence.operation_tail import ACKED, DELIVERED, EARLIER, FRESH, NEW, SENT, SILENT, TWICE

UNASKED = "unasked"
"""The place of an open id that Postgres was not asked about yet."""
ABSENT = "absent"
"""The place of an id without a payment row."""
_NEW_AND_SENT: Final = NEW | SENT


@dataclass(slots=True)
class Standing:
    """The ids of one run. An id is open until the merchant's ledger holds a 2xx of it."""

    told: FlagsById = field(default_factory=FlagsById)
    """Flags of Told by id: those the client sent, and those the ledger delivered."""
    accepted: int = 0
    delivered: int = 0
    """Accepted ids that are delivered."""
    duplicated: int = 0
    """Ids of the run that the merchant acknowledged more than once, as the verdict counts them."""
    open: dict[str, str] = field(default_factory=dict)
    """Acknowledged, not delivered: the last known place by id."""
    silent: dict[str, str] = field(default_factory=dict)
    """Without a definite answer, not delivered: the last known place by id."""
    duplicates_acknowledged: bool = False
    """Whether an open id was acknowledged only as a duplicate: the merchant may have had it before the run."""

    def hear(self, transaction_id: str, flags: int) -> None:
        """What an answer told of an id; 0 where it was only sent."""
        before = self.told.add(transaction_id, flags | SENT)
        if not before and flags == NEW:  # nearly always: nothing was known of it, so that it is in no other place
            self.accepted += 1
            self.open[transaction_id] = UNASKED
        else:
            self._heard(transaction_id, before, flags)

    def deliver(self, transaction_id: str, flag: int = DELIVERED) -> None:
        """A 2xx line of the ledger: in the run's part (DELIVERED) or before it (EARLIER)."""
        before = self.told.add(transaction_id, flag)
        if before == _NEW_AND_SENT and flag == DELIVERED:  # nearly always: its first delivery, after its answer
            self.delivered += 1
            self.open.pop(transaction_id, None)
        else:
            self._came(transaction_id, before, flag)

    def deliver_all(self, transaction_ids: Iterable[str], fresh: dict[str, None]) -> None:
        """As `deliver` for each, of the run's part.

        Args:
            transaction_ids: as their lines follow each other in the ledger.
            fresh: ids that were answered 201 as new, and that nobody has heard of yet. Those that are delivered now
                are heard here, and taken out: both at once cost half.
        """
        add, at_once = self.told.add, 0
        for transaction_id in transaction_ids:
            if transaction_id not in fresh:
                self.deliver(transaction_id)
                continue
            del fresh[transaction_id]  # a second line of it is a delivery like any other
            before = add(transaction_id, _NEW_AND_SENT | DELIVERED)
            if not before:
                at_once += 1
            else:
                self._heard(transaction_id, before, NEW)
                self._came(transaction_id, before | _NEW_AND_SENT, DELIVERED)
        self.accepted += at_once
        self.delivered += at_once

    def _heard(self, transaction_id: str, before: int, flags: int) -> None:
        """What follows from an answer, of an id that had the flags `before`."""
        now = before | flags | SENT
        if now & TWICE and not before & SENT:
            self.duplicated += 1
        if flags & ACKED:
            if not before & ACKED:
                self.accepted += 1
                self.silent.pop(transaction_id, None)
                if arrived(now):
                    self.delivered += 1
                else:
                    self.open[transaction_id] = UNASKED
                    self.duplicates_acknowledged |= not now & FRESH
            elif flags & FRESH and arrived(before) and not arrived(now):
                self.delivered -= 1  # only as a duplicate had its earlier delivery counted
                self.open[transaction_id] = UNASKED
        elif flags & SILENT and not now & ACKED and not arrived(now):
            self.silent.setdefault(transaction_id, UNASKED)

    def _came(self, transaction_id: str, before: int, flag: int) -> None:
        """What follows from a 2xx line, of an id that had the flags `before`."""
        again = TWICE if before & flag & DELIVERED else 0
        now = before | flag | again
        if again:
            self.told.add(transaction_id, again)
        if again and before & SENT and not before & TWICE:
            self.duplicated += 1
        if arrived(before) or not arrived(now):
            return
        if now & ACKED:
            self.delivered += 1
        self.open.pop(transaction_id, None)
        self.silent.pop(transaction_id, None)


def arrived(flags: int) -> bool:
    """Whether an id's delivery is on record; one from before the run counts unless the API called the id new."""
    return bool(flags & DELIVERED) or bool(flags & EARLIER and not flags & FRESH)
