"""The end of the merchant's ledger: how long it is, and its newest lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import orjson

from control_room.tracking.evidence.ledger_pages import LedgerSource

KEPT_LINES: Final = 200


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
    """Reads on from where the last look ended; of what came since, no more than is kept."""

    def __init__(self, merchant_url: str) -> None:
        self._source = LedgerSource(merchant_url)
        self._next = -1
        self._lines: deque[LedgerLine] = deque(maxlen=KEPT_LINES)

    def read(self) -> LedgerView:
        """The end now. Raises SourceError where the merchant does not answer."""
        if self._next < 0:
            self._next = max(0, self._source.position() - KEPT_LINES)
        page = self._source.page(self._next, KEPT_LINES)
        if page.total_lines < self._next:  # another ledger
            self._lines.clear()
        if page.next_line != page.total_lines:
            page = self._source.page(max(0, page.total_lines - KEPT_LINES), KEPT_LINES)
            self._lines.clear()
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
