"""What waits for its next attempt, by due time. One heap for new, retrying and parked records alike."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Set as AbstractSet
from itertools import count

from services.dispatcher.record import Record


class Schedule:
    """Records by due time (seconds of a monotonic clock). Records of equal due time keep their order of arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Record]] = []
        self._aside: deque[tuple[float, int, Record]] = deque()
        self._number = count()
        self.new = 0
        """Waiting for the first attempt since they were taken, and free to go."""
        self.retrying = 0
        """Waiting between two attempts of a round."""
        self.parked = 0
        """Re-queued earlier, waiting for the time that their record names."""

    def __len__(self) -> int:
        """How many records wait, those set aside included."""
        return len(self._heap) + len(self._aside)

    @property
    def any_aside(self) -> bool:
        """Whether the gate has refused any that still wait."""
        return bool(self._aside)

    @property
    def next_due_s(self) -> float:
        """When the first of those not set aside is due; infinite where none is."""
        return self._heap[0][0] if self._heap else float("inf")

    def push(self, due_s: float, record: Record) -> None:
        """Adds `record`."""
        self._count(record, 1)
        heapq.heappush(self._heap, (due_s, next(self._number), record))

    def pop_due(self, now_s: float) -> Record | None:
        """The first record if it is due."""
        return self.pop() if self._heap and self._heap[0][0] <= now_s else None

    def pop(self) -> Record | None:
        """The first record, due or not."""
        if not self._heap:
            return None
        record = heapq.heappop(self._heap)[2]
        self._count(record, -1)
        return record

    def set_aside(self, record: Record, due_s: float) -> None:
        """Keeps a due record that the gate refused out of the way of those that it lets through."""
        self._count(record, 1)
        self._aside.append((due_s, next(self._number), record))

    def bring_back(self, at_most: int | None = None) -> None:
        """Puts records that were set aside (the oldest first) among the others again."""
        left = len(self._aside) if at_most is None else min(at_most, len(self._aside))
        for _ in range(left):
            heapq.heappush(self._heap, self._aside.popleft())

    def drop(self, keep_epochs: AbstractSet[int]) -> list[Record]:
        """Removes and returns the records of all other epochs."""
        dropped = [entry[2] for entry in (*self._heap, *self._aside) if entry[2].position.epoch not in keep_epochs]
        self._heap = [entry for entry in self._heap if entry[2].position.epoch in keep_epochs]
        self._aside = deque(entry for entry in self._aside if entry[2].position.epoch in keep_epochs)
        heapq.heapify(self._heap)
        for record in dropped:
            self._count(record, -1)
        return dropped

    def _count(self, record: Record, change: int) -> None:
        if record.attempt:
            self.retrying += change
        elif record.not_before_ms:
            self.parked += change
        else:
            self.new += change
