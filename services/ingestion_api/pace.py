"""When the next group is committed, and so when the next burst goes to Kafka: at round times of a common clock.

A COMMIT and a request to a broker cost much the same however many events are in them, so there is a shortest time
between two groups; and it grows while this process is late for its own groups, which is how a machine without a
processor to spare shows from within. So a quiet stack is quick, and a busy one spends its processors on events. Where
hardly any event comes it does not grow: who waits longer for company, and has none, only waits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

SHORTEST_S: Final = 0.01
"""Between two groups of a replica that is never late. With 5 ms 200 payments a second cost a quarter more, and
arrive 2 ms earlier (docs/performance.md)."""
_PATIENCE: Final = 6.0
"""So many times its usual lateness a replica gathers events for."""
_MEMORY: Final = 0.2
"""The share of the last group in the usual lateness, and in how many events usually come."""
_COMPANY: Final = 1.5
"""Events that come within `SHORTEST_S`: from so many on a late replica gathers for longer. Below 150/s it commits as
soon as it may, however busy the others are."""


class Pace:
    """Belongs to one thread."""

    def __init__(self, longest_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`longest_s`: no event waits longer for company, however late this process is; 0: none waits at all.

        `clock`: seconds that never go back. Where replicas share it, as those of one machine do, their groups leave at
        the same time, and what they send reaches the brokers, is copied and is fetched together.
        """
        self._longest_s = longest_s
        self._clock = clock
        self._late_s = 0.0
        """How late groups usually are."""
        self._coming = 0.0
        """How many events usually come within `SHORTEST_S`."""
        self._left_s = clock()

    @property
    def step_s(self) -> float:
        """Groups leave at multiples of it: `SHORTEST_S`, doubled as often as it takes, `longest_s` at most."""
        step_s = SHORTEST_S
        while step_s < self._late_s * _PATIENCE and self._coming >= _COMPANY:
            step_s *= 2
        return min(step_s, self._longest_s)

    def due_s(self) -> float:
        """When a group leaves whose first event is here now."""
        step_s, now_s = self.step_s, self._clock()
        return math.ceil(now_s / step_s) * step_s if step_s else now_s

    def left(self, due_s: float, events: int) -> None:
        """A group of so many `events` that was due at `due_s` leaves now."""
        now_s = self._clock()
        self._late_s += _MEMORY * (max(0.0, now_s - due_s) - self._late_s)
        # Never over less than the shortest time: two groups that leave at once would look like a crowd.
        coming = events * SHORTEST_S / max(SHORTEST_S, now_s - self._left_s)
        self._coming += _MEMORY * (coming - self._coming)
        self._left_s = now_s
