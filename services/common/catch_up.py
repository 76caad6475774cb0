"""What has waited goes on at a pace of its own, so that what comes in meanwhile finds the processors free.

As fast as it goes, a backlog takes every processor whole for as long as it lasts, and whoever pays meanwhile waits for
a turn: Linux lets a group of processes that was idle wait up to a tenth of a second for one that was not. A pause after
every few records ends each turn by itself (docs/performance.md, "Why accepting waits beside a drain"). And it begins
slowly: brokers that have just come back run their code uncompiled, and take several times the processor for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_MADE_UP_S: Final = 0.2
"""A delay of so much is made up for by going on sooner; what was lost beyond it is lost, or a burst would follow."""
_SLOW_START: Final = 8
"""A backlog begins at this part of its pace,"""
_DOUBLES_S: Final = 1.0
"""and the pace doubles whenever so much time has passed, until it is whole."""
_NEW_AFTER_S: Final = 5.0
"""What comes so long after the last that had waited begins anew."""


class CatchUp:
    """Belongs to one thread."""

    def __init__(self, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_s`: how many go on a second at most; 0: as fast as they can. `clock`: seconds that never go back."""
        self._per_s = per_s
        self._clock = clock
        self._free_at_s = clock()
        self._began_s = self._last_s = float("-inf")

    def went(self, count: int) -> None:
        """`count` of what had waited went on."""
        if not self._per_s or not count:
            return
        now_s = self._clock()
        if now_s - self._last_s > _NEW_AFTER_S:
            self._began_s = now_s
        self._last_s = now_s
        doubled = min(_SLOW_START, 2 ** min(10.0, (now_s - self._began_s) / _DOUBLES_S))
        per_s = self._per_s * doubled / _SLOW_START
        self._free_at_s = max(self._free_at_s, now_s - _MADE_UP_S) + count / per_s

    @property
    def rest_s(self) -> float:
        """How long from now nothing that has waited goes on."""
        return max(0.0, self._free_at_s - self._clock())
