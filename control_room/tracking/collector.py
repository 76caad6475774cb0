"""A collector: one source, read over and over in a thread of its own; whoever asks gets the newest answer and its age.

A source that hangs, raises or dies costs its own figures: they go stale, with their age and the reason, and come back
by themselves. No collector waits for another, and none is waited for at the end: its thread is a daemon.

What watching may take is bounded (`allowance`): a collector whose look costs much looks less often, and all of them do
where together they take too much. The figures grow older then, and say so.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from control_room.tracking.allowance import Allowance, give_way
from control_room.tracking.parts import Part, first_line

T = TypeVar("T")
STALE_AFTER_S: Final = 3.0
"""A source that did not answer for so long after it was to be asked is called stale."""
CALM_S: Final = 5.0
"""A source that has said the same for so long is asked half as often, after twice that a quarter, after four times that
an eighth, until it says something else."""
MOST_S: Final = 3.0
"""The longest between two looks that are usually nearer than this, where the machine is busy."""
CALM_MOST_S: Final = 4.0
"""The same, where all has been calm for long."""


class Collector(Generic[T]):
    """Reads `read` every `every_s` seconds from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_s: float = CALM_MOST_S,
        alike: Callable[[T, T], bool] = operator.eq,
        allowance: Allowance | None = None,
        woke: Callable[[], None] = lambda: None,
    ) -> None:
        """`read` takes care of its own time-out, where it can.

        Args:
            name: of its part.
            read: one look.
            every_s: how far looks are apart while there is news.
            clock: for tests.
            most_s: how far they are apart at most; twice `every_s` where that is more.
            alike: whether two answers say the same, for how often the source is asked.
            allowance: what all collectors together may take.
            woke: called when a source that was calm says something else.
        """
        self.name = name
        self._read = read
        self._every_s = every_s
        self._most_s = max(most_s, 2 * every_s)
        self._alike = alike
        self._allowance = allowance or Allowance()
        self._woke = woke
        self._pause_s = 0.0
        self._clock = clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error = ""
        self._good_at_s: float | None = None
        self._asked_at_s = clock()
        self._news_at_s = self._asked_at_s

    @property
    def calm(self) -> bool:
        """Whether its source has been saying the same for long."""
        return self._clock() - self._news_at_s >= CALM_S

    @property
    def every_s(self) -> float:
        """How far its looks are apart now."""
        rests = (self._clock() - self._news_at_s) // CALM_S
        factor = 8 if rests >= 4 else 4 if rests >= 2 else 2 if rests else 1
        calm_s = min(self._most_s, self._every_s * factor)
        return max(calm_s, min(max(MOST_S, 2 * self._every_s), calm_s * self._allowance.stretch()))

    def start(self) -> None:
        """Starts its thread."""
        threading.Thread(target=self._run, name=f"collect-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Ends it after the read that is under way; returns at once."""
        self._stop.set()
        self._wake.set()

    def hurry(self) -> None:
        """Reads again at once instead of after the interval: somebody changed what is asked for."""
        self._news_at_s = self._clock()
        self._wake.set()

    def stir(self) -> None:
        """Something happened elsewhere: a calm source is looked at again at once."""
        if self.calm:
            self.hurry()

    def part(self) -> Part[T]:
        """The newest answer, with its age, and with why it is stale where it is."""
        with self._lock:
            value, error, good_at_s, asked_at_s = self._value, self._error, self._good_at_s, self._asked_at_s
        now_s = self._clock()
        since_s = good_at_s if good_at_s is not None else asked_at_s
        if not error and now_s - since_s > max(self._pause_s + STALE_AFTER_S, 3 * self._every_s):
            error = f"nothing was gathered for {now_s - since_s:.0f} s"
        return Part(value, error, 0.0 if good_at_s is None else max(0.0, now_s - good_at_s))

    def look(self) -> None:
        """One read, now, in the caller's thread.

        Failure policy: open. Whatever the source raises is kept as the reason why its figures are stale.
        """
        try:
            value = self._read()
        except Exception as error:  # noqa: BLE001 - any failure of a source is that source's part, never the snapshot's
            with self._lock:
                self._error = first_line(error)
            self._news_at_s = self._clock()
            return
        before, was_calm = self._value, self.calm
        same = not self._error and (value is before or (before is not None and self._alike(before, value)))
        with self._lock:
            if value != before:  # else the same object again: whoever compares snapshots is done at once
                self._value = value
            self._error, self._good_at_s = "", self._clock()
        if not same:
            self._news_at_s = self._clock()
            if was_calm:
                self._woke()

    def _run(self) -> None:
        give_way()
        while not self._stop.is_set():
            began_s, used_s = self._clock(), time.thread_time()
            self.look()
            used_s, took_s = time.thread_time() - used_s, self._clock() - began_s
            rest_s = self._allowance.rest_s(used_s, took_s)
            # Never back to back, and what watching costs stays small: the pipeline needs the processor.
            self._pause_s = max(self._every_s / 4, self.every_s - took_s, rest_s)
            self._wake.wait(self._pause_s)
            self._wake.clear()
