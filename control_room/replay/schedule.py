"""When each payment is due, in seconds since the replay began."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from control_room.replay.options import ReplayOptions
from control_room.replay.payments import Payment


class Schedule(Protocol):
    """Called once per payment, in order; what it returns never goes back."""

    def due_s(self, payment: Payment) -> float:
        """When `payment` should leave."""

    @property
    def latest_s(self) -> float:
        """When the payment that was asked about last should leave; not what was told then, where the pace changed."""


class FixedRate:
    """Evenly, so many a second; the rate may change on the way."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._begin_s = 0.0
        self._sent = 0
        self.latest_s = 0.0

    def due_s(self, payment: Payment) -> float:
        """The k-th payment, from 0, at k / rate: late ones do not shift those that follow."""
        del payment
        self.latest_s = self._begin_s + self._sent / self._rate_per_s
        self._sent += 1
        return self.latest_s

    def change(self, rate_per_s: float) -> None:
        """From the next payment on so many a second, counted from when it would have been due."""
        self._begin_s += self._sent / self._rate_per_s
        self._sent = 0
        self._rate_per_s = rate_per_s


class FileTime:
    """The file's own gaps, so many times faster; the speed may change on the way. A time that goes back (a file out of
    order, the next repetition of it) is due at once, and what follows counts from there."""

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds; runs as the one by which payments leave."""
        self._speed = speed
        self._clock = clock
        self._began_s: float | None = None
        self._last: datetime | None = None
        self.latest_s = 0.0

    def due_s(self, payment: Payment) -> float:
        """As long after the payment before it as in the file, divided by the speed."""
        if self._began_s is None:
            self._began_s = self._clock()
        if self._last is not None:
            self.latest_s += max(0.0, (payment.timestamp - self._last).total_seconds()) / self._speed
        self._last = payment.timestamp
        return self.latest_s

    def change(self, speed: float) -> None:
        """From now on so many times faster; what is left of the gap that is waited for, too."""
        now_s = 0.0 if self._began_s is None else self._clock() - self._began_s
        left_s = max(0.0, self.latest_s - now_s)
        self.latest_s += left_s * self._speed / speed - left_s
        self._speed = speed


def schedule_for(options: ReplayOptions) -> Schedule | None:
    """The schedule of an open loop; None for a closed one."""
    if options.rate_per_s is not None:
        return FixedRate(options.rate_per_s)
    if options.speed is not None:
        return FileTime(options.speed)
    return None
