"""`events --follow`: a line for each transaction that arrives or changes."""

from __future__ import annotations

import time
from datetime import datetime
from typing import NoReturn

import click

from control_room.cli.context import narrate, print_json
from control_room.tracking.filter import Filter, undelivered_s
from control_room.tracking.text import harmless
from control_room.tracking.transactions import TransactionRow
from control_room.tracking.watch import MIN_INTERVAL_S, Watch


def follow_transactions(gathering: Watch, chosen: Filter, as_json: bool) -> NoReturn:
    """Prints what the collector finds, until Ctrl-C. A source that is silent is told once on stderr, and waited for."""
    gathering.start()
    told, shown = "", None
    while True:
        part = gathering.snapshot().transactions
        if part.error != told:
            told = part.error
            narrate(told or "answers again")
        if part.value is not None and part.value is not shown:
            begun = shown is None
            shown = part.value
            now_s = time.time()
            for row in () if begun else shown.changed:
                if chosen.fits(row, now_s):
                    print_json(row.to_json()) if as_json else click.echo(_line(row, now_s))
        time.sleep(MIN_INTERVAL_S)


def _line(row: TransactionRow, now_s: float) -> str:
    answer = str(row.last_status) if row.last_status else harmless(row.last_error or "-", 30)
    return (
        f"{datetime.fromtimestamp(now_s).astimezone():%H:%M:%S} {row.transaction_id} {row.state:<9} "
        f"round {row.round} try {row.attempt} {answer} {undelivered_s(row, now_s):.1f}s"
    )
