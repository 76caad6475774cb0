"""Writing a verdict down: verdict.json and deliveries.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
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
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def write_verdict(run_dir: Path, verdict: Verdict) -> None:
    """Writes `verdict.json` and `deliveries.csv`, each whole or not at all.

    Where the evidence is too damaged for any class, deliveries.csv holds its header alone.

    Raises:
        OSError: the folder cannot be written to.
    """
    with whole_file(run_dir / DELIVERIES) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        if verdict.deliveries is not None:
            rows.writerows(_rows(verdict.deliveries))
        text.flush()
        text.detach()
    write_whole(run_dir / VERDICT, orjson.dumps(verdict.to_json(), option=orjson.OPT_INDENT_2) + b"\n")


def safe_cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


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
