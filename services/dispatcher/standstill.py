"""Whether the consumer thread still goes round. Asked by the loop alone: a thread that stands cannot tell of itself.

The Kafka client waits by the clock of the wall in places (a condition variable's deadline): set back by two hours under
it, a wait of a tenth of a second may last two hours. The loop waits by the monotonic clock and goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)
LIMIT_S: Final = 30.0
"""Several times the longest wait for an answer that the consumer thread allows itself."""
_LOOK_S: Final = 1.0


class Standstill:
    """Looks once a second, and ends the process where the thread has stood for too long.

    Only time that the loop itself has seen go by counts: a process that was frozen as a whole stood still as a whole,
    and its consumer thread gets the same time again after the awakening.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rounds: Callable[[], int],
        fatal: Callable[[str], None],
        *,
        limit_s: float = LIMIT_S,
        look_s: float = _LOOK_S,
    ) -> None:
        """`rounds` counts the thread's rounds; `fatal` is called once, with a sentence."""
        self._loop = loop
        self._rounds = rounds
        self._fatal = fatal
        self._limit_s = limit_s
        self._look_s = look_s
        self._seen = rounds()
        self._stood_s = 0.0
        self._next = loop.call_later(look_s, self._look)

    def stop(self) -> None:
        """Looks no more: the thread is about to end."""
        self._next.cancel()

    def _look(self) -> None:
        seen = self._rounds()
        self._stood_s = self._stood_s + self._look_s if seen == self._seen else 0.0
        self._seen = seen
        if self._stood_s >= self._limit_s:
            # Failure policy: closed. What it holds is delivered again by whoever takes its partitions.
            self._fatal(f"the Kafka consumer's thread has stood still for {self._stood_s:.0f} seconds")
            return
        self._next = self._loop.call_later(self._look_s, self._look)
