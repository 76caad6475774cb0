"""A run's JSON files as they are, for who shows them: the verdict reads them closed, by their seals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def document_of(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none.

    Failure policy: open. A run whose file is half-written or damaged is shown all the same.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
