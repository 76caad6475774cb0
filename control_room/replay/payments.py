"""From raw rows to payments that can be sent: validated, with their id and their canonical bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from control_room.replay.options import ReplayOptions
from control_room.replay.source import CsvSource, RawRow
from services.common.event import AMOUNT, COLUMNS, TRANSACTION_ID, InvalidEventError, validate

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXACT_CHARS: Final = 15
"""A number of so few characters is exact as a float: IEEE 754's double keeps 15 significant decimal digits."""


class Payment(NamedTuple):
    """One payment, ready to be sent."""

    line: int
    """The line of the source it comes from."""
    transaction_id: str
    """In lower case."""
    timestamp: datetime
    body: bytes
    """The canonical bytes: what is signed is what is sent."""
    sha256: str


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is never sent."""

    line: int
    reasons: tuple[str, ...]
    row: str
    """The row as CSV text."""


def payments(
    source: CsvSource, options: ReplayOptions, on_rejected: Callable[[RejectedRow], None]
) -> Iterator[Payment]:
    """All payments of a replay in order, the same at every call; each bad row goes to `on_rejected` once."""
    left = options.max_payments
    ids = FreshIds(options.seed) if options.ids == "fresh" else None
    for repetition in range(options.repeat):
        for row in source.rows():
            if left == 0:
                return
            fresh_id = ids.id(repetition, row.line) if ids is not None else None
            found = read_payment(source, row, fresh_id)
            if isinstance(found, Payment):
                left = None if left is None else left - 1
                yield found
            elif repetition == 0:
                on_rejected(found)


class FreshIds:
    """New transaction ids that follow from the run's seed, so that a resumed run makes the same ones again."""

    def __init__(self, seed: int) -> None:
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, f"bruce replay {seed}")

    def id(self, repetition: int, line: int) -> str:
        """The id of the row on `line` in one repetition."""
        return str(uuid.uuid5(self._namespace, f"{repetition}:{line}"))


def read_payment(source: CsvSource, row: RawRow, fresh_id: str | None) -> Payment | RejectedRow:
    """The payment in `row`, or all that is wrong with it; with `fresh_id` in place of its own id."""
    if row.fault:
        return RejectedRow(row.line, (row.fault,), row.cells[0])
    cells = row.cells
    if len(cells) != source.columns:
        return _rejected(row, f"has {len(cells)} columns, the header has {source.columns}")
    document: dict[str, Any] = dict(zip(COLUMNS, source.cells_of(cells), strict=True))
    faults: dict[str, str] = {}
    if fresh_id is not None:
        if not _UUID.fullmatch(document[TRANSACTION_ID]):
            faults[TRANSACTION_ID] = "must be a UUID"
        document[TRANSACTION_ID] = fresh_id
    amount = document[AMOUNT].strip()
    if _DECIMAL.fullmatch(amount):
        document[AMOUNT] = float(amount)
    try:
        event = validate(document)
        if not faults and len(amount) > _EXACT_CHARS and event.amount != Decimal(amount):
            # More digits than a JSON number keeps: as text the amount stays exactly what the file says.
            document[AMOUNT] = amount
            event = validate(document)
    except InvalidEventError as error:
        faults |= error.fields
    if faults:
        return _rejected(row, *(_reason(column, reason, document) for column, reason in faults.items()))
    body = event.canonical
    return Payment(row.line, event.transaction_id, event.timestamp, body, hashlib.sha256(body).hexdigest())


def _reason(column: str, reason: str, document: dict[str, Any]) -> str:
    value = document.get(column)
    if isinstance(value, str) and _SURROGATE.search(value):
        return f"{column} is not UTF-8 text"
    return f"{column} {reason}"


def _rejected(row: RawRow, *reasons: str) -> RejectedRow:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row.cells)
    return RejectedRow(row.line, reasons, text.getvalue())
