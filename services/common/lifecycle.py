"""Leaving in order: SIGTERM and SIGINT both mean "drain and leave with 0", in threads and in asyncio alike."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import select
import signal
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType

log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MANY_FILES = 65_536


class StopFlag:
    """Set by the first SIGTERM or SIGINT; a second one changes nothing, so impatience never cuts a drain short.

    Not a `threading.Event`: its lock is not reentrant, and a signal that comes while the main thread is just beginning
    to wait would have the handler wait for that lock, which the same thread holds, for ever. A pipe instead, which the
    interpreter itself writes to when the signal comes (`signal.set_wakeup_fd`): no moment is too early or too late.
    """

    def __init__(self) -> None:
        self._asked = False
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        weakref.finalize(self, _close, self._read_end, self._write_end)

    def install(self, numbers: Iterable[signal.Signals] = _SIGNALS) -> None:
        """Catches the signals `numbers`. Call from the main thread; the handler only sets the flag."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._caught)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.set()

    def set(self) -> None:
        """Asks for the end, as a signal would. From any thread, and from a signal's handler."""
        self._asked = True
        with suppress(BlockingIOError):  # so many wake-ups lie in the pipe already that one more would not fit
            os.write(self._write_end, b"!")

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._asked

    def fileno(self) -> int:
        """A descriptor that can be read from when a signal came; for a loop that waits for other things as well."""
        return self._read_end

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the end is asked for or the time is over; whether it was asked for."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._asked:
            left_ms = None if end_s is None else 1000 * max(0.0, end_s - time.monotonic())
            waiting = select.poll()
            waiting.register(self._read_end, select.POLLIN)
            if not waiting.poll(left_ms):
                break
            if not self._asked:  # another signal's wake-up, or ours a moment before its handler
                with suppress(BlockingIOError):
                    os.read(self._read_end, 64)
        return self._asked


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


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
