"""Durations as people write them: `500 ms`, `3 s`, `2 m`."""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m)?")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def seconds(text: str) -> float:
    """The seconds that `text` says; a bare number is seconds. Raises ValueError with what can be said."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration; one is such as 500 ms, 3 s or 2 m")
    return float(found[1]) * _UNIT_S[found[2] or "s"]
