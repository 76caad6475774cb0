"""Transactions as a table."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from control_room.tracking.text import harmless
from control_room.tracking.transactions import TransactionPage

_SHOWN_ID_CHARS: Final = 8
"""Enough for `event` to find it again, and few enough for a terminal of 80 columns."""


def table(page: TransactionPage) -> Table:
    """One row each: id, amount, state, attempts, last answer, age, place in Kafka."""
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    drawn.add_column("ID", no_wrap=True)
    drawn.add_column("AMOUNT", justify="right", no_wrap=True)
    drawn.add_column("STATE", no_wrap=True)
    for name in ("RND", "TRY", "HTTP", "AGE"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("KAFKA", no_wrap=True)
    drawn.add_column("RECEIVER", no_wrap=True, overflow="ellipsis")
    for row in page:
        answer = str(row.last_status) if row.last_status else (harmless(row.last_error, 10) if row.last_error else "-")
        where = f"p{row.partition} @{row.offset}" if row.partition is not None else "-"
        drawn.add_row(
            row.transaction_id[:_SHOWN_ID_CHARS],
            f"₹{row.amount_inr:,.2f}",
            row.state,
            str(row.round),
            str(row.attempt),
            answer,
            f"{row.age_s:.1f}s" if row.age_s < 600 else f"{row.age_s / 60:.0f}m",
            where,
            harmless(row.receiver_name),
        )
    return drawn
