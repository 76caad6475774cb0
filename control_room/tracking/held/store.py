"""All transactions that are held, in blocks: takes what was read, lets go of the oldest, lists what is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_room.tracking.filter import ANYTHING
from control_room.tracking.held.block import ROWS, Block, Records, beginning_with, done, undelivered_s
from control_room.tracking.held.rows import Rows, Slots
from control_room.tracking.listing import DONE, Order, Query
from control_room.tracking.transactions import TransactionRow


class HeldTransactions:
    """Some `limit` of them: all that are open, else the newest. One thread uses it; its Rows may be read by any."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: deque[Block] = deque([Block()])
        self._first = 0
        self._open: dict[bytes, int] = {}
        """Slots of those that are not done, by id."""
        self._recent: dict[bytes, tuple[int, float]] = {}
        """Slots of those that are done but may be met again, and when they were accepted."""
        self._horizon_s = float("-inf")
        self._order: Slots = np.empty(0, np.int64)
        """Slots of all, the one that was accepted first at the front: made longer, never sorted again."""
        self._order_s: NDArray[np.float64] = np.empty(0)
        """When they were accepted."""
        self._unordered: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """How many are held."""
        return sum(block.used for block in self._blocks)

    @property
    def open_ids(self) -> list[str]:
        """Of those that are not done, 32 hex digits each, the one first that was put first."""
        return [key.hex() for key in self._open]

    @property
    def open_count(self) -> int:
        """How many are not done."""
        return len(self._open)

    def is_open(self, transaction_id: str) -> bool:
        """Whether it is held and not done."""
        return _key(transaction_id) in self._open

    def knows(self, transaction_id: str) -> bool:
        """Whether it is open, or was accepted since the horizon and is held."""
        key = _key(transaction_id)
        return key in self._open or key in self._recent

    def recall(self, transaction_ids: Sequence[str]) -> None:
        """Those of them that were done long ago and are held are known again, until `let_go`."""
        wanted = {int.from_bytes(key[8:]): key for key in map(_key, transaction_ids)}
        if not wanted:
            return
        lows = np.array(list(wanted), np.uint64)
        for number, block in enumerate(self._blocks, self._first):
            for at in np.flatnonzero(np.isin(block.records["low"], lows)):
                record = block.records[at]
                key = wanted[int(record["low"])]
                if int(record["high"]) == int.from_bytes(key[:8]) and key not in self._open:
                    self._recent[key] = int(number * ROWS + at), float(record["accepted_at_s"])

    def put(self, row: TransactionRow, *, unmet: bool = False) -> bool:
        """Takes it; whether it is new, or other than before in anything but its age.

        `unmet`: it is not held, and is not looked for among all that are.
        """
        key = _key(row.transaction_id)
        slot = None if unmet else self._slot(key, row)
        if slot is None:
            slot = self._add(row)
        else:
            block, at = self._place(slot)
            if not _differs(block.row(at, 0.0), row):
                return False
            block.change(at, row)
        if row.state in DONE:
            self._open.pop(key, None)
            self._recent[key] = slot, row.accepted_at_s
        else:
            self._recent.pop(key, None)
            self._open[key] = slot
        return True

    def let_go(self, horizon_s: float) -> None:
        """Those accepted before `horizon_s` (Unix) are not met again unless they are open; the oldest leave."""
        self._horizon_s = horizon_s
        for key in [key for key, (_, at_s) in self._recent.items() if at_s < horizon_s]:
            del self._recent[key]
        if len(self) <= self._limit + ROWS or len(self._blocks) < 2:
            return
        leaving = self._blocks.popleft()
        self._first += 1
        for at in np.flatnonzero(~done(leaving.records)):
            row = leaving.row(int(at), 0.0)
            self._open[_key(row.transaction_id)] = self._add(row)
        begin = self._first * ROWS
        kept = self._order >= begin
        self._order, self._order_s = self._order[kept], self._order_s[kept]
        self._unordered = [each for each in self._unordered if each[1] >= begin]
        self._recent = {key: place for key, place in self._recent.items() if place[0] >= begin}

    def arranged(self, query: Query, now_s: float) -> Rows:
        """Those that fit, in the order asked for, at `now_s` (Unix)."""
        self._bring_in_order()
        slots = self._order
        if query.filter != ANYTHING:
            fits = np.zeros(len(self._blocks) * ROWS, np.bool_)
            for number, block in enumerate(self._blocks):
                fits[number * ROWS + block.fitting(query.filter, now_s)] = True
            slots = slots[fits[slots - self._first * ROWS]]
        if query.order is Order.OLDEST_OPEN:
            over = self._column(slots, done)
            slots = np.concatenate([slots[~over], slots[over]])
        elif query.order is Order.MOST_ATTEMPTS:
            waits = self._column(slots, lambda records: undelivered_s(records, now_s))
            attempts = self._column(slots, lambda records: records["attempts_total"])
            slots = slots[np.lexsort((-waits, -attempts))]
        else:
            slots = slots[::-1]
        return Rows([block.view() for block in self._blocks], self._first, slots, now_s)

    def _bring_in_order(self) -> None:
        """Puts those that came since in their places: nearly all of them at the end."""
        if not self._unordered:
            return
        accepted = np.array([accepted_at_s for accepted_at_s, _ in self._unordered])
        slots = np.array([slot for _, slot in self._unordered])
        by_time = np.argsort(accepted)
        accepted, slots = accepted[by_time], slots[by_time]
        places = np.searchsorted(self._order_s, accepted)
        self._order = np.insert(self._order, places, slots)
        self._order_s = np.insert(self._order_s, places, accepted)
        self._unordered.clear()

    def _column(self, slots: Slots, of: Callable[[Records], NDArray[Any]]) -> NDArray[Any]:
        """What `of` tells of each of `slots`."""
        parts = []
        for block in self._blocks:
            told = of(block.records)
            parts.append(told if len(told) == ROWS else np.resize(told, ROWS))
        return np.concatenate(parts)[slots - self._first * ROWS]

    def oldest_open(self, now_s: float) -> TransactionRow | None:
        """Of those that are not done, the one that was accepted first."""
        found: tuple[float, Block, int] | None = None
        for block in self._blocks:
            waiting = np.where(done(block.records), np.inf, block.records["accepted_at_s"])
            at = int(np.argmin(waiting)) if len(waiting) else 0
            if len(waiting) and waiting[at] < np.inf and (found is None or waiting[at] < found[0]):
                found = float(waiting[at]), block, at
        return None if found is None else found[1].row(found[2], now_s)

    def _slot(self, key: bytes, row: TransactionRow) -> int | None:
        if key in self._open:
            return self._open[key]
        if key in self._recent:
            return self._recent[key][0]
        if row.accepted_at_s >= self._horizon_s:
            return None
        for number, block in enumerate(self._blocks, self._first):
            if len(found := np.flatnonzero(beginning_with(block.records, row.transaction_id))):
                return int(number * ROWS + found[0])
        return None

    def _add(self, row: TransactionRow) -> int:
        if self._blocks[-1].full:
            self._blocks.append(Block())
        slot = (self._first + len(self._blocks) - 1) * ROWS + self._blocks[-1].add(row)
        self._unordered.append((row.accepted_at_s, slot))
        return slot

    def _place(self, slot: int) -> tuple[Block, int]:
        number, at = divmod(slot, ROWS)
        return self._blocks[number - self._first], at


def _key(transaction_id: str) -> bytes:
    return bytes.fromhex(transaction_id.replace("-", ""))


def _differs(before: TransactionRow, now: TransactionRow) -> bool:
    """Whether anything but the passing of time changed."""
    return (before.state, before.attempts_total, before.round, before.published_at_s, before.republished) != (
        now.state,
        now.attempts_total,
        now.round,
        now.published_at_s,
        now.republished,
    ) or before.next_due_at_s != now.next_due_at_s
