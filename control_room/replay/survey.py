"""Looking at a source without sending anything: for a dry run, and for `strict`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from control_room.replay.errors import BadRowsError
from control_room.replay.options import ReplayOptions
from control_room.replay.payments import Payment, RejectedRow, payments
from control_room.replay.schedule import schedule_for
from control_room.replay.source import CsvSource

MAX_EXAMPLES: Final = 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What a replay with these options would send."""

    payments: int
    bad_rows: int
    bad_row_examples: tuple[RejectedRow, ...]
    """The first twenty."""
    ignored_columns: tuple[str, ...]
    first: Payment | None
    """The first payment, byte for byte as it would be sent."""
    first_time: datetime | None
    last_time: datetime | None
    scheduled_s: float | None
    """Open loop: how long after the first payment the last one would leave."""


def survey(options: ReplayOptions) -> Survey:
    """Reads and validates everything the options name. Raises SourceError as CsvSource."""
    source = CsvSource(options.source)
    schedule = schedule_for(options)
    bad_rows, count = 0, 0
    examples: list[RejectedRow] = []
    first: Payment | None = None
    last: Payment | None = None
    due_s: float | None = None

    def on_rejected(row: RejectedRow) -> None:
        nonlocal bad_rows
        bad_rows += 1
        if len(examples) < MAX_EXAMPLES:
            examples.append(row)

    for payment in payments(source, options, on_rejected):
        count += 1
        first = first or payment
        last = payment
        if schedule is not None:
            due_s = schedule.due_s(payment)
    return Survey(
        payments=count,
        bad_rows=bad_rows,
        bad_row_examples=tuple(examples),
        ignored_columns=source.ignored_columns,
        first=first,
        first_time=first.timestamp if first else None,
        last_time=last.timestamp if last else None,
        scheduled_s=due_s,
    )


def refuse_bad_rows(options: ReplayOptions) -> None:
    """`strict`: Raises BadRowsError, naming the first bad rows, where there is one."""
    found = survey(options)
    if not found.bad_rows:
        return
    named = "\n".join(f"line {row.line}: {'; '.join(row.reasons)}" for row in found.bad_row_examples)
    rows = "row is" if found.bad_rows == 1 else "rows are"
    raise BadRowsError(f"{found.bad_rows:,} {rows} bad, so nothing was sent:\n{named}")
