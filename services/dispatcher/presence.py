"""Whether this process may still believe that it is the group's member. Used by the loop alone.

A process that was frozen and wakes up after its session holds records that are somebody else's by then, and its client
needs a moment to hear of it. What it began in that moment would come twice to the merchant.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)
SETTLE_S: Final = 1.0
"""After the awakening: the client finds its session over within milliseconds, the next poll brings it."""
_LOOK_S: Final = 0.5
"""Between two looks at the clock where nothing else happens."""


class Presence:
    """Notices by the clock that the process stood still."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session_s: float, settled: Callable[[], None]) -> None:
        """`session_s`: how long the group waits for a silent member; `settled` is called when doubt has ended."""
        self._loop = loop
        self._session_s = session_s
        self._settled = settled
        self._seen_s = loop.time()
        self._doubt_until_s = float("-inf")
        loop.call_later(_LOOK_S, self._look)

    def sure(self) -> bool:
        """Whether work may begin now."""
        now_s = self._loop.time()
        away_s = now_s - self._seen_s
        self._seen_s = now_s
        if away_s > self._session_s:
            self._doubt_until_s = now_s + SETTLE_S
            self._loop.call_at(self._doubt_until_s, self._settled)
            log.warning("stood still for %.1f s, longer than the group waits: nothing is begun for a moment", away_s)
        return now_s >= self._doubt_until_s

    def _look(self) -> None:
        self.sure()
        self._loop.call_later(_LOOK_S, self._look)
