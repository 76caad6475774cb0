"""A series as a line of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int, least_top: float = 0.0) -> str:
    """The last `width` of `values`, the newest at the right; a series below `least_top` does not fill the height."""
    shown = list(values)[-width:]
    top = max([least_top, *shown]) or 1.0
    drawn = "".join(_block(value / top) for value in shown)
    return " " * (width - len(shown)) + drawn


def _block(share: float) -> str:
    if share <= 0:
        return _BLOCKS[0]
    return _BLOCKS[max(1, min(len(_BLOCKS) - 1, round(share * (len(_BLOCKS) - 1))))]
