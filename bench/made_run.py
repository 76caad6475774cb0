"""A run that never was: the files of a proven run of any size, made by what writes real ones.

One id in twenty fails at the merchant once, one in two hundred is delivered twice; everything arrives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from control_room.replay.operation_log import OperationLog
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import Payment, payments
from control_room.replay.run_folder import RejectedRows, RunFolder, create_run
from control_room.replay.source import CsvSource
from control_room.verify.files import ATTEMPTS, DRAIN, FORMAT, LEDGER, STORES
from control_room.verify.manifest import write_manifest
from dataset.generate import write as write_payments
from services.common.chain import ChainWriter

_GROUP: Final = 500
_FAILS_ONCE: Final = 20
_TWICE: Final = 200
_LATENCY_S: Final = 0.02
_PER_S: Final = 1000.0
"""How many the made-up pipeline delivers a second."""


def make_source(path: Path, rows: int) -> Path:
    """A CSV of so many payments."""
    with path.open("w", encoding="utf-8", newline="") as file:
        write_payments(file, rows, 1)
    return path


def make_run(runs_dir: Path, source: Path) -> Path:
    """A run over all payments of `source`, with its manifest; its folder."""
    options = ReplayOptions(source, seed=1)
    folder = create_run(runs_dir, options, ledger_from=0)
    began_at = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))["started_at"]
    with RejectedRows(folder.rejected_path) as rejected:
        stream = payments(CsvSource(source), options, rejected.add)
        with (folder.path / LEDGER).open("wb") as ledger, (folder.path / ATTEMPTS).open("wb") as attempts:
            lines = _write(folder, stream, _Merchant(ledger, attempts, began_at))
    (folder.path / STORES).write_bytes(
        ChainWriter().line({"k": "sources", "complete": True, "at": began_at, "pruned_to": None})
    )
    drain = {"format": FORMAT, "run": folder.run_id, "ended": "complete", "ledger_next": lines, "ledger_shrank": False}
    ended_at = began_at + lines / _PER_S + 1
    (folder.path / DRAIN).write_text(json.dumps({**drain, "ended_at": ended_at}), encoding="utf-8")
    write_manifest(folder.path)
    return folder.path


def _write(folder: RunFolder, stream: Iterator[Payment], merchant: _Merchant) -> int:
    """The client's side and the merchant's; how many lines the ledger has."""
    log = OperationLog(folder.operations_path)
    try:
        log.start(folder.run_id)
        while group := list(islice(stream, _GROUP)):
            for operation in log.invoke_all(group, 1, [0.0] * len(group)):
                log.ok(operation, 201, duplicate=False, by="ingestion-api-1")
            for payment in group:
                merchant.take(payment)
        log.end()
    finally:
        log.close()
    return merchant.lines


class _Merchant:
    """Writes the ledger, and the dispatcher's attempts."""

    def __init__(self, ledger: BinaryIO, attempts: BinaryIO, began_at: float) -> None:
        self._ledger, self._attempts = (ledger, ChainWriter()), (attempts, ChainWriter())
        self._at = began_at
        self._count = 0

    @property
    def lines(self) -> int:
        """Of the ledger so far."""
        return self._ledger[1].next_n

    def take(self, payment: Payment) -> None:
        """One payment until it is delivered."""
        number, self._count = self._count, self._count + 1
        self._at += 1 / _PER_S
        tries = [200]
        if number % _FAILS_ONCE == 0:
            tries.insert(0, 500)
        if number % _TWICE == 1:
            tries.append(200)
        for attempt, status in enumerate(tries, 1):
            self._note(payment, number, attempt, status)

    def _note(self, payment: Payment, number: int, attempt: int, status: int) -> None:
        at = round(self._at + 2.0 * (attempt - 1) + _LATENCY_S, 6)
        by = {"src": f"{number % 3}@{number // 3}", "att": f"1.{attempt}", "by": "dispatcher"}
        signed = {"sha": payment.sha256, "hmac": "ok", "wh": "ok", "status": status}
        _add(self._ledger, {"k": "req", "id": payment.transaction_id, "at": at, **signed, **by})
        place = {"partition": number % 3, "offset": number // 3, "next": None, "red": None}
        tried = {"round": 1, "try": attempt, "at": at - _LATENCY_S, "ms": 20.0, "status": status, "error": None}
        _add(self._attempts, {"k": "attempt", "id": payment.transaction_id, **tried, "by": "dispatcher", **place})


def _add(place: tuple[BinaryIO, ChainWriter], record: dict[str, Any]) -> None:
    file, writer = place
    file.write(writer.line(record))
