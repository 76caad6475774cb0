"""Writing a verdict down: verdict.json and deliveries.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson

from control_room.verify.deliveries import Deliveries, Delivery
from control_room.verify.duplicates import WORDS
from control_room.verify.durable import whole_file, write_whole
from control_room.verify.files import DELIVERIES, VERDICT
from control_room.verify.verdict import Verdict

COLUMNS: Final = (
    "id",
    "accepted_at",
    "delivered_at",
    "attempts",
    "rounds",
    "answers",
    "duplicates",
    "cause",
    "class",
    "why",
)
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell must not begin with: a spreadsheet would run it."""


def write_verdict(run_dir: Path, verdict: Verdict) -> None:
    """Writes `verdict.json` and `deliveries.csv`, each whole or not at all.

    Where the evidence is too damaged for any class, deliveries.csv holds its header alone.

    Raises:
        OSError: the folder cannot be written to.
    """
    rows = () if verdict.deliveries is None else _rows(verdict.deliveries)
    write_csv(run_dir / DELIVERIES, COLUMNS, rows)
    write_whole(run_dir / VERDICT, orjson.dumps(verdict.to_json(), option=orjson.OPT_INDENT_2) + b"\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]) -> Path:
    """A CSV file with one line per row, whole or not at all; its text cells are made safe by the caller."""
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=False)
        lines = csv.writer(_UnixLines(text), lineterminator="\r\n")
        lines.writerow(columns)
        lines.writerows(rows)
        text.flush()
        text.detach()
    return path


class _UnixLines:
    """Ends lines with a newline alone.

    A csv.writer that is told to do so itself leaves a lone carriage return in a cell unquoted (Python 3.11): a reader
    then takes what follows for a new row, and for a formula.
    """

    __slots__ = ("_file",)

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """One row, as csv.writer hands it over: whole, with its `\\r\\n`."""
        return self._file.write(f"{line[:-2]}\n")


def safe_cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _rows(deliveries: Deliveries) -> Iterator[tuple[str | int, ...]]:
    for delivery in deliveries:
        yield _row(delivery)


def _row(delivery: Delivery) -> tuple[str | int, ...]:
    return (
        safe_cell(delivery.transaction_id),
        f"{delivery.accepted_at:.6f}" if delivery.accepted_at else "",
        f"{delivery.delivered_at:.6f}" if delivery.delivered_at else "",
        delivery.attempts,
        delivery.rounds,
        safe_cell(delivery.answers),
        delivery.duplicates,
        "; ".join(WORDS[cause] for cause in delivery.causes),
        delivery.outcome.value,
        safe_cell(delivery.why),
    )
