"""Committed events go to Kafka in bursts: the first leaves at once, what follows is gathered until the next is due.

The brokers' cost is per request. A gathering that begins with the first event makes every event wait, however few
come; this one bounds the requests a second by the same interval, and an event after a calm moment waits for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from services.ingestion_api.store import Accepted

ENOUGH_EVENTS: Final = 500
"""So many leave whatever the clock says: a request of that size costs no less per event when it grows."""


class Bursts:
    """Belongs to one thread. What is held lies in the outbox too: held in memory it can only be late, not lost."""

    def __init__(
        self,
        send: Callable[[list[Accepted]], None],
        *,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` takes a burst; it must not wait. `clock`: seconds that never go back."""
        self._send = send
        self._interval_s = interval_s
        self._clock = clock
        self._held: list[Accepted] = []
        self._due_s = float("-inf")

    def add(self, accepted: list[Accepted]) -> None:
        """Takes a group that is committed; it leaves with `send_due`."""
        self._held += accepted

    def send_due(self) -> float | None:
        """Sends what is held if its time has come; seconds until it will have, None where nothing is held."""
        if not self._held:
            return None
        now_s = self._clock()
        if now_s < self._due_s and len(self._held) < ENOUGH_EVENTS:
            return self._due_s - now_s
        self._due_s = now_s + self._interval_s
        self.send_all()
        return None

    def send_all(self) -> None:
        """Sends what is held, due or not: nothing will be added any more."""
        if self._held:
            held, self._held = self._held, []
            self._send(held)
