"""The lines of one transaction in the merchant's ledger, found over HTTP without reading all of it.

The ledger's lines carry `at` in ascending order, so the line at a moment is found by bisection, one line a question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from control_room.tracking.http_source import fetch_lines
from control_room.tracking.parts import SourceError

PAGE_LINES: Final = 5_000
MAX_LINES: Final = 100_000
"""About 25 MB: what one look at one transaction may cost."""
MARGIN_S: Final = 1.0
"""Clocks are one machine's; a line is stamped on arrival and written a group later."""


@dataclass(frozen=True, slots=True)
class LedgerFinding:
    """What a search found."""

    lines: tuple[dict[str, Any], ...]
    complete: bool
    """False: the search stopped at MAX_LINES before it had seen all of its windows."""


def find_in_ledger(merchant_url: str, transaction_id: str, windows: Iterable[tuple[float, float]]) -> LedgerFinding:
    """The ledger's lines of `transaction_id` within `windows` of Unix time.

    Raises:
        SourceError: the merchant does not answer.
    """
    found: dict[int, dict[str, Any]] = {}
    budget = MAX_LINES
    for begin_s, end_s in merged(windows):
        position = first_line_at(merchant_url, begin_s)
        while True:
            if budget <= 0:
                return LedgerFinding(_in_order(found), complete=False)
            page = fetch_lines(f"{merchant_url}/ledger", {"from": position, "limit": min(PAGE_LINES, budget)})
            for record in _of_transaction(page, transaction_id):
                if begin_s <= record.get("at", 0.0) <= end_s:
                    found[record["n"]] = record
            budget -= len(page)
            position += len(page)
            if not page or _parsed(page[-1])["at"] > end_s:
                break
    return LedgerFinding(_in_order(found), complete=True)


def merged(windows: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """`windows` widened by MARGIN_S, in order, those that touch made one."""
    result: list[tuple[float, float]] = []
    for begin_s, end_s in sorted((begin_s - MARGIN_S, end_s + MARGIN_S) for begin_s, end_s in windows):
        if result and begin_s <= result[-1][1]:
            result[-1] = (result[-1][0], max(end_s, result[-1][1]))
        else:
            result.append((begin_s, end_s))
    return result


def first_line_at(merchant_url: str, at_s: float) -> int:
    """The number of the first line not older than `at_s`; the ledger's length where all are older."""
    low, high = 0, 1024
    while _is_before(merchant_url, high, at_s):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        if _is_before(merchant_url, middle, at_s):
            low = middle + 1
        else:
            high = middle
    return low


def _is_before(merchant_url: str, number: int, at_s: float) -> bool:
    """Whether line `number` exists and is older than `at_s`."""
    lines = fetch_lines(f"{merchant_url}/ledger", {"from": number, "limit": 1})
    return bool(lines) and bool(_parsed(lines[0])["at"] < at_s)


def _of_transaction(page: list[bytes], transaction_id: str) -> list[dict[str, Any]]:
    wanted = transaction_id.encode()
    # A search of bytes is a hundred times cheaper than parsing every line.
    records = [_parsed(line) for line in page if wanted in line]
    return [record for record in records if record.get("k") == "req" and record.get("id") == transaction_id]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise SourceError("the ledger holds a line that is not JSON") from error
    if not isinstance(record, dict) or not isinstance(record.get("at"), int | float) or "n" not in record:
        raise SourceError("the ledger holds a line without a time")
    return record


def _in_order(found: dict[int, dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(found[number] for number in sorted(found))
