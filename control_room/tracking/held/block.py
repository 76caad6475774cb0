"""Some thousand transactions as records, and which of them a filter takes.

Texts are kept once per block: most names, senders and errors come again and again, and go with the block.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from control_room.tracking.filter import NO_ANSWER, Comparison, Filter
from control_room.tracking.listing import DONE
from control_room.tracking.states import ACCEPTED, MISSING, STATES
from control_room.tracking.transactions import TransactionRow

ROWS: Final = 16_384
"""Per block: what is copied where a row changes that somebody still looks at."""
STATE_NAMES: Final = (*STATES, MISSING, ACCEPTED)
RECORD: Final = np.dtype(
    [
        ("high", "u8"),
        ("low", "u8"),
        ("accepted_at_s", "f8"),
        ("published_at_s", "f8"),
        ("next_due_at_s", "f8"),
        ("delivered_at_s", "f8"),
        ("amount", "f8"),  # for comparing; the next two give it back digit by digit
        ("digits", "i8"),
        ("exponent", "i1"),
        ("state", "u1"),
        ("last_status", "i2"),
        ("partition", "i4"),
        ("offset", "i8"),
        ("republished", "i4"),
        ("round", "i4"),
        ("attempt", "i4"),
        ("attempts_total", "i4"),
        ("status", "u4"),
        ("accepted_by", "u4"),
        ("published_by", "u4"),
        ("sender_name", "u4"),
        ("receiver_name", "u4"),
        ("last_error", "u4"),
    ]
)
_NONE: Final = -1
"""Where there is no such whole number; of times, not-a-number says so."""
_AS_TEXT: Final = 127
"""The exponent of an amount that fits no 63 bits: its digits are the number of a text."""
_LOW_BITS: Final = 2**64 - 1
_WORDS_KEPT: Final = 8
_HEX: Final = frozenset("0123456789abcdef")
_IS_DONE: Final = np.array([name in DONE for name in STATE_NAMES])
_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
}

Records = NDArray[np.void]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block as it was when it was looked at: what changes later changes a copy."""

    records: Records
    """Those that were in use."""
    texts: list[str | None]
    """Grows, and never changes what it has."""

    def row(self, at: int, now_s: float) -> TransactionRow:
        """One of its transactions; its age is that at `now_s` (Unix)."""
        return _unpacked(self.records[at].item(), self.texts, now_s)


class Block:
    """Takes rows until it is full, and changes those that it has."""

    def __init__(self) -> None:
        self._records: Records = np.zeros(ROWS, RECORD)
        self.used = 0
        self._texts: list[str | None] = [None]
        self._codes: dict[str | None, int] = {None: 0}
        self._looked_at = False
        self._hits: dict[str, Mask] = {}

    @property
    def full(self) -> bool:
        """Whether no further row fits in."""
        return self.used >= ROWS

    @property
    def records(self) -> Records:
        """Those that are in use."""
        return self._records[: self.used]

    def add(self, row: TransactionRow) -> int:
        """Where it was put. What was looked at before is not touched: it does not reach so far."""
        self._records[self.used] = self._packed(row)
        self.used += 1
        return self.used - 1

    def change(self, at: int, row: TransactionRow) -> None:
        """Another state of the transaction at `at`."""
        if self._looked_at:
            self._records, self._looked_at = self._records.copy(), False
        self._records[at] = self._packed(row)

    def view(self) -> BlockView:
        """As it is now, for good."""
        self._looked_at = True
        return BlockView(self.records, self._texts)

    def row(self, at: int, now_s: float) -> TransactionRow:
        """One of its transactions."""
        return _unpacked(self._records[at].item(), self._texts, now_s)

    def _packed(self, row: TransactionRow) -> tuple[Any, ...]:
        number = int(row.transaction_id.replace("-", ""), 16)
        digits, exponent = self._amount(row.amount_inr)
        return (
            number >> 64,
            number & _LOW_BITS,
            row.accepted_at_s,
            _time(row.published_at_s),
            _time(row.next_due_at_s),
            _time(row.delivered_at_s),
            float(row.amount_inr),
            digits,
            exponent,
            STATE_NAMES.index(row.state),
            _whole(row.last_status),
            _whole(row.partition),
            _whole(row.offset),
            row.republished,
            row.round,
            row.attempt,
            row.attempts_total,
            self._code(row.status),
            self._code(row.accepted_by),
            self._code(row.published_by),
            self._code(row.sender_name),
            self._code(row.receiver_name),
            self._code(row.last_error),
        )

    def _amount(self, amount: Decimal) -> tuple[int, int]:
        sign, digits, exponent = amount.as_tuple()
        if not sign and isinstance(exponent, int) and len(digits) <= 18 and abs(exponent) < _AS_TEXT:
            return int("".join(map(str, digits))), exponent
        return self._code(str(amount)), _AS_TEXT

    def _code(self, text: str | None) -> int:
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def fitting(self, wanted: Filter, now_s: float) -> NDArray[np.intp]:
        """Places of those that `wanted` takes at `now_s` (Unix), as `Filter.fits` would say of each."""
        records = self.records
        mask = np.array([wanted.takes(name) for name in STATE_NAMES])[records["state"]]
        if wanted.answers:
            mask &= self._answered(records, wanted.answers)
        for each in wanted.figures:
            mask &= _compared(records, each, now_s)
        for prefix in wanted.prefixes:
            mask &= beginning_with(records, prefix)
        for word in wanted.words:
            mask &= beginning_with(records, word) | self._holding(records, word)
        return np.flatnonzero(mask)

    def _answered(self, records: Records, answers: frozenset[str]) -> Mask:
        mask: Mask = np.isin(records["last_status"], [int(each) for each in answers if each != NO_ANSWER])
        if NO_ANSWER in answers:
            error = records["last_error"]
            said = (error != 0) & (error != self._codes.get("", 0))
            mask |= (records["last_status"] == _NONE) & said
        return mask

    def _holding(self, records: Records, word: str) -> Mask:
        hits = self._hits.get(word)
        if hits is None or len(hits) < len(self._texts):
            before = () if hits is None else hits
            more = [word in (text or "").lower() for text in self._texts[len(before) :]]
            if len(self._hits) >= _WORDS_KEPT:
                self._hits.clear()
            hits = self._hits[word] = np.array([*before, *more], np.bool_)
        held: Mask = hits[records["sender_name"]] | hits[records["receiver_name"]] | hits[records["last_error"]]
        return held


def done(records: Records) -> Mask:
    """Which of them are delivered, or given up."""
    mask: Mask = _IS_DONE[records["state"]]
    return mask


def undelivered_s(records: Records, now_s: float) -> NDArray[np.float64]:
    """As `filter.undelivered_s`, for each."""
    delivered = records["delivered_at_s"]
    until = np.where(np.isnan(delivered), now_s, delivered)
    waited: NDArray[np.float64] = np.maximum(0.0, until - records["accepted_at_s"])
    return waited


def beginning_with(records: Records, prefix: str) -> Mask:
    """Which have an id that begins with `prefix`, written with its hyphens."""
    digits = prefix.replace("-", "")
    if len(digits) > 32 or not set(digits) <= _HEX or not _written(digits.ljust(32, "0")).startswith(prefix):
        return np.zeros(len(records), np.bool_)
    low, high = (int(digits.ljust(32, filler), 16) for filler in "0f")
    found: Mask
    if len(digits) < 16:
        found = (records["high"] >= low >> 64) & (records["high"] <= high >> 64)
        return found
    found = records["high"] == low >> 64
    if len(digits) > 16 and found.any():
        found &= (records["low"] >= low & _LOW_BITS) & (records["low"] <= high & _LOW_BITS)
    return found


def _compared(records: Records, each: Comparison, now_s: float) -> Mask:
    if each.figure == "age":
        figure = undelivered_s(records, now_s)
    else:
        figure = records[{"amount": "amount", "try": "attempts_total", "round": "round"}[each.figure]]
    mask: Mask = _COMPARE[each.sign](figure, each.value)
    return mask


def _unpacked(record: tuple[Any, ...], texts: list[str | None], now_s: float) -> TransactionRow:
    high, low, accepted_at_s, published_at_s, next_due_at_s, delivered_at_s, _, digits, exponent, *rest = record
    state, last_status, partition, offset, republished, round_, attempt, attempts_total, *codes = rest
    status, accepted_by, published_by, sender_name, receiver_name, last_error = (texts[code] for code in codes)
    return TransactionRow(
        transaction_id=_written(f"{high:016x}{low:016x}"),
        amount_inr=Decimal(texts[digits] or "NaN") if exponent == _AS_TEXT else Decimal(digits).scaleb(exponent),
        status=status or "",
        sender_name=sender_name or "",
        receiver_name=receiver_name or "",
        accepted_at_s=accepted_at_s,
        accepted_by=accepted_by or "",
        state=STATE_NAMES[state],
        published_at_s=_some_time(published_at_s),
        published_by=published_by,
        partition=None if partition == _NONE else partition,
        offset=None if offset == _NONE else offset,
        republished=republished,
        round=round_,
        attempt=attempt,
        attempts_total=attempts_total,
        last_status=None if last_status == _NONE else last_status,
        last_error=last_error,
        next_due_at_s=_some_time(next_due_at_s),
        delivered_at_s=_some_time(delivered_at_s),
        age_s=max(0.0, now_s - accepted_at_s),
    )


def _written(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _time(at_s: float | None) -> float:
    return float("nan") if at_s is None else at_s


def _some_time(at_s: float) -> float | None:
    return None if at_s != at_s else at_s


def _whole(value: int | None) -> int:
    return _NONE if value is None else value
