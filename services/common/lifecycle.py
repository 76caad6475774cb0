"""Leaving in order: SIGTERM and SIGINT both mean "drain and leave with 0", in threads and in asyncio alike."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import threading
from types import FrameType

log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MANY_FILES = 65_536


class StopFlag:
    """Set by the first SIGTERM or SIGINT; a second one changes nothing, so impatience never cuts a drain short."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def install(self) -> None:
        """Catches the signals. Call from the main thread; the handler only sets the flag."""
        for number in _SIGNALS:
            signal.signal(number, self._caught)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._event.set()

    def set(self) -> None:
        """Asks for the end, as a signal would."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the end is asked for or the time is over; whether it was asked for."""
        return self._event.wait(timeout_s)


def stop_event(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """An event of `loop` that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    return stop


def allow_many_files() -> None:
    """Raises this process's limit of open files as far as it may: thousands of connections at once are normal here.

    Failure policy: open. Where the platform refuses, the limit stays as it is and connections beyond it wait.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.debug("the limit of open files stays at %d: %s", soft, error)
