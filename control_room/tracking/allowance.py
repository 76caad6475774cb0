"""What watching may take: of a core, of a source's time, and only after the pipeline had what it wants."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

SHARE_OF_CORE: Final = 0.03
"""What one collector's thread may take of a core; one whose look costs more looks less often."""
ALL_OF_CORE: Final = 0.01
"""What all of them together may take; where they take more, all look less often."""
SHARE_OF_TIME: Final = 0.2
"""How much of the time one may have a question at its source: a source under load answers slowly, and is asked less."""
LONGEST_REST_S: Final = 1.0
"""For the time a source took, which may have been a time-out."""
LONGEST_PAID_S: Final = 10.0
"""For what a look cost of the processor: one that read a long log from its begin is not paid for by a minute without
looks, in which nobody knows how the run stands."""
_REMEMBERED_S: Final = 4.0
_GIVEN_WAY: Final = 10
"""As `nice` counts: a tenth of the weight of a process of the pipeline where both want the processor."""


class Allowance:
    """Shared by the collectors of a watch; any thread may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spent_s = 0.0
        self._at_s = clock()

    def rest_s(self, used_s: float, took_s: float) -> float:
        """Notes a look that used `used_s` of the processor and took `took_s`; how long its source rests then."""
        with self._lock:
            self._spent_s = self._faded_s() + used_s
            self._at_s = self._clock()
        return max(min(LONGEST_PAID_S, used_s / SHARE_OF_CORE), min(LONGEST_REST_S, took_s / SHARE_OF_TIME))

    def stretch(self) -> float:
        """How many times as far apart looks have to be: 1 while all together take no more than they may.

        Squared: looks twice as far apart take half as much, and a stretch by the bare ratio would fade with it to the
        root of what is to be saved.
        """
        with self._lock:
            return max(1.0, self._faded_s() / _REMEMBERED_S / ALL_OF_CORE) ** 2

    def _faded_s(self) -> float:
        """What was spent lately: the longer ago, the less it counts."""
        return self._spent_s * math.exp((self._at_s - self._clock()) / _REMEMBERED_S)


def give_way() -> None:
    """Has the calling thread stand back behind the pipeline where the processor is short.

    Failure policy: open. Where the system has no priority for a thread alone, it keeps the one it has.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVEN_WAY)
