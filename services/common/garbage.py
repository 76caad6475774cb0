"""Python's search for cycles of garbage, made rare: what these processes leave behind, counting references frees."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLD: Final = 50_000
"""Allocations between two searches; Python's own 700 search dozens of times a second under load."""


def search_rarely() -> None:
    """To be called when the process is set up: everything that is there by then is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
