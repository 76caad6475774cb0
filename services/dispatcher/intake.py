"""How many records the consumer thread may take: the one thing that both threads look at while they work.

Each number is written by one thread only and only ever replaced, so no lock is needed: a reader sees an older number at
worst, and every bound is checked against records that are on their way too.
"""

from __future__ import annotations

from typing import Final

READY_AHEAD: Final = 1000
"""New records held ready beyond those in flight: enough to bridge a fetch, few enough to be no second queue."""


class Intake:
    """Flow control between the consumer thread (takes records) and the loop (finishes them)."""

    def __init__(self, *, capacity: int, capacity_bytes: int) -> None:
        """`capacity` bounds the records held, in flight and waiting; `capacity_bytes` their bodies."""
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self.open = True
        """Written by the loop: False in a pause, with too many unrecorded outcomes, and from the drain on."""
        self.probe_wanted = False
        """Written by the loop: a closed intake may let one record through, which becomes the probe."""
        self.ready = 0
        """Written by the loop: new records that wait for a free place in flight."""
        self._handed = self._handed_bytes = 0
        self._arrived = 0
        self._released = self._released_bytes = 0

    @property
    def held(self) -> int:
        """Records taken and not finished, those on their way to the loop included."""
        return self._handed - self._released

    @property
    def released(self) -> int:
        """Records finished or dropped, ever: it grows while work goes on."""
        return self._released

    def hand_over(self, records: int, size_bytes: int) -> None:
        """Consumer thread: this much is on its way to the loop."""
        self._handed += records
        self._handed_bytes += size_bytes

    def arrive(self, records: int) -> None:
        """Loop: this many have come."""
        self._arrived += records

    def release(self, size_bytes: int) -> None:
        """Loop: one record is finished, or dropped with its assignment."""
        self._released += 1
        self._released_bytes += size_bytes

    def room(self) -> int:
        """Consumer thread: how many records may be taken now."""
        underway = self._handed - self._arrived
        if not self.open:
            return 1 if self.probe_wanted and not underway else 0
        if self._handed_bytes - self._released_bytes >= self._capacity_bytes:
            return 0
        return max(0, min(self._capacity - self.held, READY_AHEAD - self.ready - underway))
