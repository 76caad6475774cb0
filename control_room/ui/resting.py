"""When the screen may be drawn again: what drawing takes of a core is bounded, for the pipeline needs the processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

AGES_S: Final = 1.0
"""How often the screen is drawn where nothing but the time has changed, and news is looked at that cannot be drawn."""
DRAWING_OF_CORE: Final = 0.01
"""What drawing of itself may take of a core; keys are answered whatever it takes."""
LONGEST_REST_S: Final = 3.0
"""What it may take is kept to until a screen would be older than this."""


class Rest:
    """Of one screen; used by the thread that draws it, whose processor time is what counts."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.thread_time
    ) -> None:
        """`clock` and `used` tell seconds: the time, and what this thread took of the processor."""
        self._clock = clock
        self._used = used
        self._told: Any = None
        self._due_s = self._looked_at_s = self._drawn_at_s = float("-inf")
        self._used_s = 0.0

    def may_look(self) -> bool:
        """Whether it is worth looking for news: they could be drawn, or have not been looked at for AGES_S."""
        now_s = self._clock()
        if now_s < min(self._until_s(), self._looked_at_s + AGES_S):
            return False
        self._looked_at_s = now_s
        return True

    def may_draw(self, told: Any) -> bool:
        """Whether a screen that says `told` may be drawn now; it is counted as drawn then."""
        now_s = self._clock()
        if now_s < (self._due_s if told == self._told else self._until_s()):
            return False
        self._told, self._due_s = told, now_s + AGES_S
        self._drawn_at_s, self._used_s = now_s, self._used()
        return True

    def _until_s(self) -> float:
        """How long the screen rests, with what Textual rendered since it was drawn."""
        return self._drawn_at_s + min(LONGEST_REST_S, (self._used() - self._used_s) / DRAWING_OF_CORE)
