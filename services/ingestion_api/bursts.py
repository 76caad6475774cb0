"""Committed events go to Kafka in bursts: what was committed since the last one leaves together, by a common clock.

The brokers' cost is per request, so there is a shortest time between two bursts; and it grows while this process is
late for its own bursts, which is how a machine without a processor to spare shows from within. So a quiet stack is
quick, and a busy one spends its processors on events instead of requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from services.ingestion_api.store import Accepted

ENOUGH_EVENTS: Final = 500
"""So many leave whatever the clock says: a request of that size costs no less per event when it grows."""
SHORTEST_S: Final = 0.005
"""Between two bursts of a replica that is never late."""
_PATIENCE: Final = 3.0
"""So many times its usual lateness a replica gathers events for."""
_MEMORY: Final = 0.2
"""The share of the last burst in the usual lateness."""


class Bursts:
    """Belongs to one thread. What is held lies in the outbox too: held in memory it can only be late, not lost."""

    def __init__(
        self,
        send: Callable[[list[Accepted]], None],
        *,
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` takes a burst; it must not wait.

        Args:
            longest_s: no event is held longer, however late this process is.
            clock: seconds that never go back. Bursts leave at round times of it: where replicas share it, as those of
                one machine do, theirs reach the brokers together, and are passed on together.
        """
        self._send = send
        self._longest_s = longest_s
        self._clock = clock
        self._held: list[Accepted] = []
        self._due_s = 0.0
        self._late_s = 0.0
        """How late bursts usually are."""

    @property
    def step_s(self) -> float:
        """Bursts leave at multiples of it: `SHORTEST_S`, doubled as often as it takes, `longest_s` at most."""
        step_s = SHORTEST_S
        while step_s < self._late_s * _PATIENCE:
            step_s *= 2
        return min(step_s, self._longest_s)

    def add(self, accepted: list[Accepted]) -> None:
        """Takes a group that is committed; it leaves with `send_due`."""
        if not self._held:
            step_s = self.step_s
            self._due_s = math.ceil(self._clock() / step_s) * step_s if step_s else 0.0
        self._held += accepted

    def send_due(self) -> float | None:
        """Sends what is held if its time has come; seconds until it will have, None where nothing is held."""
        if not self._held:
            return None
        early_s = self._due_s - self._clock()
        if early_s > 0 and len(self._held) < ENOUGH_EVENTS:
            return early_s
        self._late_s += _MEMORY * (max(0.0, -early_s) - self._late_s)
        self.send_all()
        return None

    def send_all(self) -> None:
        """Sends what is held, due or not: nothing will be added any more."""
        if self._held:
            held, self._held = self._held, []
            self._send(held)
