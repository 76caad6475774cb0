"""Rows of a list that are made when they are asked for: what is not seen costs eight bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from control_room.tracking.held.block import ROWS, BlockView, beginning_with
from control_room.tracking.transactions import TransactionRow

Slots = NDArray[np.int64]
"""Places of transactions: the block's number, times ROWS, and the place in it."""


WHOLE_ID_CHARS: Final = 36


class Rows(Sequence[TransactionRow]):
    """Transactions in an order, as they were at one moment. Nothing in it changes."""

    def __init__(self, views: Sequence[BlockView], first: int, slots: Slots, now_s: float) -> None:
        """`first`: the number of the first of `views`; `now_s`: Unix, what the rows' ages are told by."""
        self._views = views
        self._first = first
        self._slots = slots
        self._now_s = now_s

    def __len__(self) -> int:
        """How many."""
        return len(self._slots)

    @overload
    def __getitem__(self, index: int) -> TransactionRow: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> TransactionRow | Rows:
        """One of them, or a part."""
        if isinstance(index, slice):
            return Rows(self._views, self._first, self._slots[index], self._now_s)
        number, at = divmod(int(self._slots[index]), ROWS)
        return self._views[number - self._first].row(at, self._now_s)

    def find(self, prefix: str) -> int | None:
        """Where the first one stands whose id begins with `prefix` (a whole id is one too); None where none does."""
        if len(prefix) == WHOLE_ID_CHARS:
            slot = self._slot(prefix)
            places = np.flatnonzero(self._slots == (-1 if slot is None else slot))
        else:
            fits = [beginning_with(view.records, prefix) for view in self._views]
            slots = [np.flatnonzero(each) + number * ROWS for number, each in enumerate(fits, self._first)]
            places = np.flatnonzero(np.isin(self._slots, np.concatenate(slots)))
        return int(places[0]) if len(places) else None

    def _slot(self, transaction_id: str) -> int | None:
        """Looked for among the newest first: whoever looks for one has mostly just seen it."""
        for number in range(len(self._views) - 1, -1, -1):
            found = np.flatnonzero(beginning_with(self._views[number].records, transaction_id))
            if len(found):
                return int((self._first + number) * ROWS + found[0])
        return None

    def as_before(self, before: Rows) -> Rows:
        """The transactions of `before`, in its order, as they are here."""
        slots = before._slots
        return Rows(self._views, self._first, slots[slots >= self._first * ROWS], self._now_s)

    def count_without(self, before: Rows) -> int:
        """How many are here and not in `before`."""
        begin = self._first * ROWS
        was = np.zeros(len(self._views) * ROWS, np.bool_)
        earlier = before._slots - begin
        was[earlier[earlier >= 0]] = True
        return int(len(self._slots) - np.count_nonzero(was[self._slots - begin]))
