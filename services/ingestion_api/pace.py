"""When the next group is committed, and so when the next burst goes to Kafka: at round times of a common clock.

A COMMIT and a request to a broker cost much the same however many events are in them, so there is a shortest time
between two groups; and it grows while this process is late for its own groups, which is how a machine without a
processor to spare shows from within. So a quiet stack is quick, and a busy one spends its processors on events.
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
"""The share of the last group in the usual lateness."""


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

    @property
    def step_s(self) -> float:
        """Groups leave at multiples of it: `SHORTEST_S`, doubled as often as it takes, `longest_s` at most."""
        step_s = SHORTEST_S
        while step_s < self._late_s * _PATIENCE:
            step_s *= 2
        return min(step_s, self._longest_s)

    def due_s(self) -> float:
        """When a group leaves whose first event is here now."""
        step_s, now_s = self.step_s, self._clock()
        return math.ceil(now_s / step_s) * step_s if step_s else now_s

    def left(self, due_s: float) -> None:
        """A group that was due at `due_s` leaves now."""
        self._late_s += _MEMORY * (max(0.0, self._clock() - due_s) - self._late_s)
