"""A document of a run as pairs of a dotted name and a value in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_DEPTH: Final = 4


def flattened(value: Mapping[str, Any], prefix: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, str]]:
    """`{"a": {"b": 1}}` as `a.b`, `1`; what lies deeper than four levels stays JSON."""
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and depth > 1:
            yield from flattened(inner, f"{prefix}{name}.", depth - 1)
        else:
            words = inner if isinstance(inner, str) else json.dumps(inner, sort_keys=True, ensure_ascii=False)
            yield f"{prefix}{name}", words
