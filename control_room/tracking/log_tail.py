"""The members' logs as one bounded tail: the newest lines of all of them, numbered, those that fell out counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.stack.runtime import MEMBERS, Runtime
from control_room.tracking.allowance import give_way
from control_room.tracking.member_logs import LogLine, follow_in_batches, merged, newest

KEPT_LINES: Final = 20_000
FIRST_LINES: Final = 200
"""Per member, from before the control room was opened."""
LOOK_AGAIN_S: Final = 3.0
"""Until members are looked for again that were not there, where all the usual ones are followed."""


@dataclass(frozen=True, slots=True)
class LogView:
    """What is kept of the logs."""

    lines: tuple[LogLine, ...] = ()
    """In the order in which they were read."""
    dropped: int = 0
    """Lines that were read and are no longer kept: line i of `lines` is number `dropped + i`."""


class LogTail:
    """Follows every member's live log file, in threads of its own."""

    def __init__(self, runtime: Runtime, kept: int = KEPT_LINES) -> None:
        self._runtime = runtime
        self._lines: deque[LogLine] = deque(maxlen=kept)
        self._seen = 0
        self._view = LogView()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._followed: set[str] = set()
        self._look_again_s = 0.0

    def read(self) -> LogView:
        """What is kept now; begins to follow each member at the first call that finds a file of it.

        While a stack starts they appear one after the other, and more replicas of one may come at any time.
        Raises NotRunningError.
        """
        now_s = time.monotonic()
        if not self._followed.issuperset(MEMBERS) or now_s >= self._look_again_s:
            self._look_again_s = now_s + LOOK_AGAIN_S
            further = self._runtime.endpoints().ports  # of more than the usual replicas, where there are any
            wanted = [member for member in dict.fromkeys((*MEMBERS, *further)) if member not in self._followed]
            paths = {member: self._runtime.log_paths(member) for member in wanted}
            self._begin({member: found for member, found in paths.items() if found})
        with self._lock:
            if self._view.dropped + len(self._view.lines) != self._seen:
                self._view = LogView(tuple(self._lines), self._seen - len(self._lines))
            return self._view

    def stop(self) -> None:
        """Ends following."""
        self._stop.set()

    def _begin(self, paths: Mapping[str, list[Path]]) -> None:
        if not paths:
            return
        self._followed.update(paths)
        live = {member: found[-1] for member, found in paths.items()}
        batches = follow_in_batches(live, self._stop.is_set)
        self._keep(merged([newest(member, found, FIRST_LINES) for member, found in paths.items()]))
        threading.Thread(target=self._run, args=(batches,), name="follow-logs", daemon=True).start()

    def _run(self, batches: Iterator[list[LogLine]]) -> None:
        give_way()
        for lines in batches:
            self._keep(lines)

    def _keep(self, lines: list[LogLine]) -> None:
        with self._lock:
            self._lines.extend(lines)
            self._seen += len(lines)
