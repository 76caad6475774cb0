"""The end of the merchant's ledger: how long it is, and its newest lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import orjson

from control_room.tracking.evidence.ledger_pages import LedgerSource

KEPT_LINES: Final = 200
MAX_LINES: Final = 2_000
"""Read per look at most; what came in between is counted, not read."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One delivery as the merchant wrote it down."""

    number: int
    at_s: float
    transaction_id: str
    status: int
    """0: connection reset; -1: held back until the caller gave up."""
    signed: bool
    """Whether both signatures verified."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger's end."""

    total_lines: int
    lines: tuple[LedgerLine, ...]
    """Oldest first, at most KEPT_LINES."""


class LedgerTail:
    """Reads on from where the last look ended."""

    def __init__(self, merchant_url: str) -> None:
        self._source = LedgerSource(merchant_url)
        self._next = -1
        self._lines: deque[LedgerLine] = deque(maxlen=KEPT_LINES)

    def read(self) -> LedgerView:
        """The end now. Raises SourceError where the merchant does not answer."""
        total = self._source.position()
        if not 0 <= self._next <= total:
            self._lines.clear()
            self._next = max(0, total - KEPT_LINES)
        self._next = max(self._next, total - MAX_LINES)
        page = self._source.page(self._next, MAX_LINES)
        self._lines.extend(line for raw in page.lines if (line := _parsed(raw)) is not None)
        self._next = page.next_line
        return LedgerView(page.total_lines, tuple(self._lines))

    def close(self) -> None:
        """Closes the connection."""
        self._source.close()


def _parsed(raw: bytes) -> LedgerLine | None:
    """A delivery; None for lines of other kinds and for those that cannot be read."""
    try:
        record = orjson.loads(raw)
        if record["k"] != "req":
            return None
        signed = record.get("hmac") == "ok" and record.get("wh") == "ok"
        return LedgerLine(int(record["n"]), float(record["at"]), str(record["id"]), int(record["status"]), signed)
    except (ValueError, KeyError, TypeError):
        return None
