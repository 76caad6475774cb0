"""Whose are the ledger's ids that this run never sent: another run's, or those of a time before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from control_room.tracking.evidence.ledger_pages import LedgerSource
from control_room.verify.files import OPERATIONS


def ids_in(path: Path) -> set[str]:
    """The ids of a chained file's lines; what cannot be read is passed over (the verdict checks the chain)."""
    found = set()
    for record in _records(path):
        transaction_id = record.get("id")
        if isinstance(transaction_id, str):
            found.add(transaction_id.lower())
    return found


def sent_by_others(run_dir: Path, strangers: set[str]) -> dict[str, str]:
    """Those of `strangers` that another run of the same state folder sent, each with that run's name; newest first."""
    left = set(strangers)
    found: dict[str, str] = {}
    logs = [path for path in run_dir.parent.glob(f"*/{OPERATIONS}") if path.parent.resolve() != run_dir.resolve()]
    for path in sorted(logs, key=lambda log: log.stat().st_mtime, reverse=True):
        if not left:
            break
        for record in _records(path):
            transaction_id = record.get("id")
            if record.get("k") == "invoke" and isinstance(transaction_id, str) and transaction_id.lower() in left:
                found[transaction_id.lower()] = path.parent.name
                left.discard(transaction_id.lower())
    return found


def earlier_lines(ledger: LedgerSource, end: int, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """The 2xx lines of `wanted` ids before ledger line `end`, as lines of earlier.jsonl. Reads nothing for no ids.

    Raises:
        SourceError: the merchant-server does not answer.
    """
    line = 0
    while wanted and line < end:
        page = ledger.page(line, min(10_000, end - line))
        for raw in page.lines:
            record = orjson.loads(raw)
            if record["k"] == "req" and 200 <= record["status"] < 300 and record["id"].lower() in wanted:
                kept = {key: record[key] for key in ("id", "at", "sha", "hmac", "wh", "status")}
                yield {"k": "earlier", "line": record["n"], **kept}
        if not page.body:
            return
        line = page.next_line


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        for raw in file:
            try:
                record = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                yield record
