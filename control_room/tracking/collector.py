"""A collector: one source, read over and over in a thread of its own; whoever asks gets the newest answer and its age.

A source that hangs, raises or dies costs its own figures: they go stale, with their age and the reason, and come back
by themselves. No collector waits for another, and none is waited for at the end: its thread is a daemon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from control_room.tracking.parts import Part, first_line

T = TypeVar("T")
STALE_AFTER_S: Final = 3.0
"""A source that is asked more often than this and did not answer for so long is called stale."""


SHARE_OF_CORE: Final = 0.05
"""What one collector's thread may take of a core; one whose look costs more looks less often."""
CALM_LOOKS: Final = 8
"""A source that said the same so often in a row is asked half as often, until it says something else."""


class Collector(Generic[T]):
    """Reads `read` every `every_s` seconds from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read` takes care of its own time-out, where it can."""
        self.name = name
        self._read = read
        self._every_s = every_s
        self._stale_after_s = max(STALE_AFTER_S, 3 * every_s)
        self._clock = clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error = ""
        self._good_at_s: float | None = None
        self._asked_at_s = clock()
        self._same_looks = 0

    @property
    def every_s(self) -> float:
        """How far its looks are apart now."""
        return self._every_s * (2 if self._same_looks >= CALM_LOOKS else 1)

    def start(self) -> None:
        """Starts its thread."""
        threading.Thread(target=self._run, name=f"collect-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Ends it after the read that is under way; returns at once."""
        self._stop.set()
        self._wake.set()

    def hurry(self) -> None:
        """Reads again at once instead of after the interval: somebody changed what is asked for."""
        self._same_looks = 0
        self._wake.set()

    def part(self) -> Part[T]:
        """The newest answer, with its age, and with why it is stale where it is."""
        with self._lock:
            value, error, good_at_s, asked_at_s = self._value, self._error, self._good_at_s, self._asked_at_s
        now_s = self._clock()
        since_s = good_at_s if good_at_s is not None else asked_at_s
        if not error and now_s - since_s > self._stale_after_s:
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
            self._same_looks = 0
        else:
            same = not self._error and value == self._value
            self._same_looks = self._same_looks + 1 if same else 0
            with self._lock:
                self._value, self._error, self._good_at_s = value, "", self._clock()

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s, used_s = self._clock(), time.thread_time()
            self.look()
            used_s = time.thread_time() - used_s
            # Never back to back, and what watching costs stays small: the pipeline needs the processor.
            pause_s = self.every_s - (self._clock() - began_s)
            self._wake.wait(max(self._every_s / 4, pause_s, used_s / SHARE_OF_CORE))
            self._wake.clear()
