"""Following the client's operation log while it grows: what each id was told so far.

For counting while a run is on, and for knowing whom to ask about. The verdict reads the log anew, with its checksums.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

_READ_BYTES: Final = 4 << 20
_ANSWERS: Final = frozenset({"ok", "fail", "info"})
# The two lines that nearly every payment has, as our client writes them, and any other line as a whole. To find lines
# of a known form in one look at a block takes half of what taking each apart as JSON does. Nothing of the form is left
# open: in a line that broke off, with the next one behind it, it is not found.
_USUAL: Final = re.compile(
    rb'\{"n":\d+,"k":"(?:invoke","op":(\d+),"id":"([!-~]{36})","try":\d+,"at":[\d.]+,"due":[\d.]+,"sha":".{64}","row":\d+'
    rb'|ok","op":(\d+),"at":[\d.]+,"status":201,"dup":(?:(true)|false),"by":"[^"]*"),"c":".{8}"\}\n|(.*)\n'
)


class Told(enum.IntFlag):
    """What is known of one id. Plain integers underneath: there may be a million."""

    ACKED = 1
    """Answered 201."""
    FRESH = 2
    """A 201 said that it was new."""
    SILENT = 4
    """A send had no definite answer."""
    REFUSED = 8
    """A send was answered 4xx."""
    DELIVERED = 16
    """The ledger holds a 2xx of it, in the run's part."""
    EARLIER = 32
    """The ledger holds a 2xx of it from before the run."""
    TWICE = 64
    """The ledger holds more than one 2xx of it, in the run's part."""
    SENT = 128
    """The client sent it: it belongs to the run, whatever was answered."""


ACKED: Final = int(Told.ACKED)
FRESH: Final = int(Told.FRESH)
SILENT: Final = int(Told.SILENT)
REFUSED: Final = int(Told.REFUSED)
DELIVERED: Final = int(Told.DELIVERED)
EARLIER: Final = int(Told.EARLIER)
TWICE: Final = int(Told.TWICE)
SENT: Final = int(Told.SENT)
NEW: Final = ACKED | FRESH


class OperationTail:
    """Reads what was appended to an operation log since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._pending: dict[int, str] = {}
        self.ended = False
        """Whether the log's last line so far is the client's `end`."""

    def news(self) -> Iterator[tuple[str, int]]:
        """Each id with what one answer told of it (flags of Told), oldest first; of those without one `unanswered`.

        A line that is not complete yet is left for the next call. A file that does not exist yet has no news.

        Failure policy: open. A line that cannot be read is passed over: this counts, and the verdict reads with
        checksums, and closed.
        """
        try:
            file = self._path.open("rb")
        except OSError:
            return
        with file:
            file.seek(self._offset)
            while block := file.read(_READ_BYTES):
                end = block.rfind(b"\n") + 1
                if not end:
                    return
                self._offset += end
                file.seek(self._offset)
                yield from self._told(block[:end])

    def unanswered(self) -> list[str]:
        """Ids whose last send has no line after it. Once the client has ended these are sends without an answer."""
        return list(self._pending.values())

    def _told(self, block: bytes) -> Iterator[tuple[str, int]]:
        """Two lines a payment, of a stream that may bring thousands a second: one loop, no call for the usual ones."""
        pending = self._pending
        for sent, transaction_id, answered, duplicate, other in _USUAL.findall(block):
            if sent:
                pending[int(sent)] = transaction_id.decode().lower()
                self.ended = False
            elif answered:
                self.ended = False
                if (known := pending.pop(int(answered), None)) is not None:
                    yield known, ACKED if duplicate else NEW
            else:
                yield from self._told_by(other)

    def _told_by(self, line: bytes) -> Iterator[tuple[str, int]]:
        """What any line tells."""
        try:
            record: dict[str, Any] = orjson.loads(line)
            kind = record["k"]
            self.ended = kind == "end"
            if kind == "invoke":
                self._pending[record["op"]] = record["id"].lower()
                return
            known = self._pending.pop(record["op"], None) if kind in _ANSWERS else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if known is not None:
            yield known, _flags(kind, record)


def _flags(kind: str, record: dict[str, Any]) -> int:
    if kind == "fail":
        return REFUSED
    if kind == "info":
        return SILENT
    return ACKED if record.get("dup") else NEW
