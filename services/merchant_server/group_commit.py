"""Group commit: one write and one fsync for all requests that wait at the moment, in a thread of its own.

The event loop gathers the lines of one turn and hands them over; the thread takes everything handed over so far,
so a group grows with the load and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from services.merchant_server.ledger import LedgerError, LedgerFile

log = logging.getLogger(__name__)
UNWAITED_DELAY_S: Final = 0.1
"""How long a line that nobody waits for may stay in memory while no other line comes."""
RETRY_DELAY_S: Final = 1.0
"""How long after a failed group the lines that are owed to the ledger are tried again."""
MAX_OWED_LINES: Final = 50_000
"""Lines that nobody waits for, in memory at once (about 25 MB); beyond it their requests wait like the others."""


@dataclass(slots=True)
class _Entry:
    record: dict[str, Any]
    waiting: asyncio.Future[None] | None


Observe = Callable[[int, float], None]
"""Told each group's lines and the seconds its write and fsync took, in the loop."""


class GroupCommit:
    """The one way into the ledger. All methods are called from the event loop."""

    def __init__(self, ledger: LedgerFile, observe: Observe) -> None:
        self._ledger = ledger
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Entry] = []
        self._owed = 0
        self._handing_over: asyncio.Handle | None = None
        self._urgent = False
        self._closing = False
        self._inbox: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._progress = asyncio.Event()
        self.failure: str | None = None
        """Why the last group was not written; None where it was."""
        self.dropped_lines = 0
        """Lines nobody waited for that were given up because the ledger could not be written for too long."""
        self._thread = threading.Thread(target=self._write_groups, name="ledger", daemon=True)
        self._thread.start()

    def add(self, record: dict[str, Any]) -> None:
        """Writes `record` with the next group; nobody waits for it."""
        self._owed += 1
        self._gather(_Entry(record, None), urgent=False)

    async def commit(self, record: dict[str, Any]) -> None:
        """Returns when `record` is on disk.

        Raises:
            LedgerError: it is not, and never will be: a line that says 503 stands for it once the ledger works again.
        """
        waiting = self._loop.create_future()
        self._gather(_Entry(record, waiting), urgent=True)
        await waiting

    @property
    def full(self) -> bool:
        """Whether so many lines are owed that a request should wait for its line whatever it says."""
        return self._owed >= MAX_OWED_LINES

    async def progressed(self) -> None:
        """Returns after the next group is on disk, or when followers are woken for another reason."""
        await self._progress.wait()

    def wake_followers(self) -> None:
        """Lets everyone who waits in `progressed` look again."""
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    async def close(self, timeout_s: float) -> None:
        """Writes what is gathered and ends the thread; gives up after `timeout_s` (a disk that hangs)."""
        self._closing = True
        self._hand_over()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, timeout_s)
        self.wake_followers()

    def _gather(self, entry: _Entry, *, urgent: bool) -> None:
        self._gathered.append(entry)
        if urgent and not self._urgent:
            self._urgent = True
            if self._handing_over is not None:
                self._handing_over.cancel()
            self._handing_over = self._loop.call_soon(self._hand_over)
        elif self._handing_over is None:
            delay_s = UNWAITED_DELAY_S if self.failure is None else RETRY_DELAY_S
            self._handing_over = self._loop.call_later(delay_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._handing_over is not None:
            self._handing_over.cancel()
        self._handing_over, self._urgent = None, False
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def _write_groups(self) -> None:
        """The thread: groups until the end is handed over."""
        ended = False
        while not ended:
            group: list[_Entry] = []
            batch = self._inbox.get()
            while True:
                if batch is None:
                    ended = True
                else:
                    group += batch
                try:
                    batch = self._inbox.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._write(group)

    def _write(self, group: list[_Entry]) -> None:
        error: OSError | None = None
        started_s = time.perf_counter()
        try:
            self._ledger.append([entry.record for entry in group])
        except OSError as caught:
            error = caught
        duration_s = time.perf_counter() - started_s
        try:
            self._loop.call_soon_threadsafe(self._written, group, duration_s, error)
        except RuntimeError:
            log.debug("ledger: the loop ended before a group's outcome")

    def _written(self, group: list[_Entry], duration_s: float, error: OSError | None) -> None:
        if error is not None:
            self._failed(group, error)
            return
        if self.failure is not None:
            log.info("ledger: written again after: %s", self.failure)
            self.failure = None
        self._observe(len(group), duration_s)
        for entry in group:
            if entry.waiting is None:
                self._owed -= 1
            elif not entry.waiting.done():
                entry.waiting.set_result(None)
        self.wake_followers()

    def _failed(self, group: list[_Entry], error: OSError) -> None:
        """Waiting requests are refused; the lines still owed, theirs now saying 503, are tried again later."""
        if self.failure is None:
            log.error("ledger: cannot write %s: %s; answering 503", self._ledger.path, error.strerror)
        self.failure = f"{error.strerror or error}"
        for entry in group:
            if entry.waiting is None:
                self._owed -= 1
            else:
                if not entry.waiting.done():
                    entry.waiting.set_exception(LedgerError(f"the ledger cannot be written: {self.failure}"))
                entry.record["status"] = 503
                entry.record.pop("ans", None)
                entry.waiting = None
            if self._closing or self.full:
                self.dropped_lines += 1
            else:
                self.add(entry.record)
