"""Which partition the next burst goes to: one lane per partition, closed while its records are not acknowledged.

Kafka's cost is per request, so bursts go to one partition at a time, by turns that all producers of a machine share:
what they send at the same time is copied to the other brokers, and fetched, together. Keys decide nothing, since no
order is promised. A partition that has no leader must not hold up the others, and with no broker at all nothing is
produced but a probe: one real record, whose report opens the lane again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROBE_INTERVAL_S: Final = 1.0
"""Between two probes of a lane that failed: cheap, and a broker that is back is noticed within a second."""
TURN_S: Final = 0.08
"""How long it is one partition's turn."""
STALL_S: Final = 1.5
"""Unacknowledged for so long, a lane gets nothing new; a healthy one answers in milliseconds."""


@dataclass(slots=True)
class Lane:
    """One partition and what is on its way to it."""

    partition: int
    in_flight: int = 0
    waiting_since_s: float = 0.0
    """When the oldest silence began: the last report, or the first record after all were reported."""
    failed: bool = False
    probe_at_s: float = 0.0

    def room(self, now_s: float) -> int | None:
        """How many records it may get now: None is any number, 0 none, 1 a probe."""
        if self.failed:
            return 1 if self.in_flight == 0 and now_s >= self.probe_at_s else 0
        if self.in_flight and now_s - self.waiting_since_s > STALL_S:
            return 0
        return None


class Lanes:
    """The lanes of one producer. Times are monotonic seconds; one thread produces, one (or the same) reports."""

    def __init__(self, partitions: int) -> None:
        self._lanes = [Lane(number) for number in range(partitions)]
        self._all_down = False

    def pick(self, now_s: float) -> tuple[int, int | None] | None:
        """The partition whose turn it is, or the next that takes records, and how many (None: any number).

        None where no lane is open.

        A lane whose probe is due comes first, so that one that healed is not forgotten while the others do well.
        """
        for lane in self._lanes:
            if lane.room(now_s) == 1:
                return lane.partition, 1
        turn = int(now_s / TURN_S)
        for step in range(len(self._lanes)):
            lane = self._lanes[(turn + step) % len(self._lanes)]
            if lane.room(now_s) is None:
                return lane.partition, None
        return None

    def sent(self, partition: int, count: int, now_s: float) -> None:
        """`count` records were given to the producer for `partition`."""
        lane = self._lanes[partition]
        if lane.in_flight == 0:
            lane.waiting_since_s = now_s
        lane.in_flight += count

    def unsent(self, partition: int, count: int) -> None:
        """The producer did not take `count` of the records last announced by `sent`."""
        lane = self._lanes[partition]
        lane.in_flight = max(0, lane.in_flight - count)

    def reported(self, partition: int, *, ok: bool, now_s: float) -> None:
        """One record of `partition` was acknowledged, or failed."""
        lane = self._lanes[partition]
        lane.in_flight = max(0, lane.in_flight - 1)
        lane.waiting_since_s = now_s
        lane.failed = not ok
        if not ok:
            lane.probe_at_s = now_s + PROBE_INTERVAL_S
        elif self._all_down:
            self.reopen()

    def all_down(self, now_s: float) -> None:
        """The client says that no broker is connected: every lane waits for a probe."""
        self._all_down = True
        for lane in self._lanes:
            if not lane.failed:
                lane.failed, lane.probe_at_s = True, now_s

    def reopen(self) -> None:
        """A broker answers: no lane has a reason to be closed but its own, which will show again."""
        self._all_down = False
        for lane in self._lanes:
            lane.failed = False

    @property
    def silent(self) -> bool:
        """Whether the client said that no broker is connected, and none has answered since."""
        return self._all_down

    def forget(self) -> None:
        """The producer was replaced: what was in flight will never be reported."""
        for lane in self._lanes:
            lane.in_flight = 0

    @property
    def in_flight(self) -> int:
        """Records that were produced and not reported yet."""
        return sum(lane.in_flight for lane in self._lanes)

    @property
    def open(self) -> bool:
        """Whether some lane is not closed by a failure."""
        return any(not lane.failed for lane in self._lanes)
