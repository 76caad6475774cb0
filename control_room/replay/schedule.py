"""When each payment is due, in seconds since the replay began."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from control_room.replay.options import ReplayOptions
from control_room.replay.payments import Payment


class Schedule(Protocol):
    """Called once per payment, in order; what it returns never goes back."""

    def due_s(self, payment: Payment) -> float:
        """When `payment` should leave."""


class FixedRate:
    """Evenly, so many a second; the rate may change on the way."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._begin_s = 0.0
        self._sent = 0

    def due_s(self, payment: Payment) -> float:
        """The k-th payment, from 0, at k / rate: late ones do not shift those that follow."""
        del payment
        due_s = self._begin_s + self._sent / self._rate_per_s
        self._sent += 1
        return due_s

    def change(self, rate_per_s: float) -> None:
        """From the next payment on so many a second, counted from when it would have been due."""
        self._begin_s += self._sent / self._rate_per_s
        self._sent = 0
        self._rate_per_s = rate_per_s


class FileTime:
    """The file's own gaps, so many times faster. A time that goes back (a file out of order, the next repetition of it)
    is due at once, and what follows counts from there."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._last: datetime | None = None
        self._due_s = 0.0

    def due_s(self, payment: Payment) -> float:
        """As long after the payment before it as in the file, divided by the speed."""
        if self._last is not None:
            self._due_s += max(0.0, (payment.timestamp - self._last).total_seconds()) / self._speed
        self._last = payment.timestamp
        return self._due_s


def schedule_for(options: ReplayOptions) -> Schedule | None:
    """The schedule of an open loop; None for a closed one."""
    if options.rate_per_s is not None:
        return FixedRate(options.rate_per_s)
    if options.speed is not None:
        return FileTime(options.speed)
    return None
