"""Asking for transactions to be delivered once more: by their ids, or all that a filter of the transactions finds.

The wish is a row in Postgres (`services.common.redeliveries`), written in one transaction; the pipeline does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from control_room.tracking.filter import Filter
from control_room.tracking.listing import DONE
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.transactions import TransactionLookupError, find_transaction, list_transactions
from services.common import redeliveries

MOST: Final = 200_000
"""How many of the newest payments a filter looks through."""
CHUNK_IDS: Final = 1_000
"""Asked for in one transaction: some 50 ms of Postgres, and not more than a statement's deadline on a slow disk."""
_STATEMENT_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which transactions are to be redelivered."""

    ids: tuple[str, ...]
    """Those that can be asked for: delivered, or dead-lettered."""
    states: dict[str, int]
    """How many of them are where."""
    refused: tuple[str, ...] = ()
    """Why others cannot, in sentences."""
    on_their_way: int = 0
    """How many others a filter found that are still on their way."""
    complete: bool = True
    """False: only the newest MOST payments were looked through."""

    def words(self) -> list[str]:
        """What will happen, in sentences, for a question."""
        lines = []
        if count := self.states.get("delivered", 0):
            lines.append(f"{_counted(count)} delivered: the merchant gets {_them(count)} again, under the same id.")
        if count := self.states.get("dead", 0):
            lines.append(f"{_counted(count)} dead-lettered: the merchant gets {_them(count)} as it was accepted.")
        if count := self.on_their_way:
            lines.append(f"{_counted(count)} still on the way: left alone, delivered without being asked for.")
        if not self.complete:
            lines.append(f"Only the newest {MOST:,} payments were looked through; older ones may fit too.")
        return [*lines, *self.refused]


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    numbers: dict[str, int]
    """The redelivery's number, by transaction id."""
    refused: tuple[str, ...]
    """Why others were not, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {"redeliveries": self.numbers, "refused": list(self.refused)}

    def line(self) -> str:
        """As one line."""
        refused = f", {len(self.refused):,} refused" if self.refused else ""
        return f"{_counted(len(self.numbers))} to be redelivered{refused}"


def select_ids(conninfo: str, texts: Iterable[str]) -> Selection:
    """The transactions with these ids, or beginnings of ids; what cannot be redelivered is said in `refused`.

    Raises:
        ValueError: a text that is no id nor the beginning of one.
        SourceError: Postgres does not answer.
    """
    ids, states, refused = [], dict[str, int](), []
    for text in dict.fromkeys(texts):
        try:
            row = find_transaction(conninfo, text)
        except TransactionLookupError as error:
            refused.append(str(error))
            continue
        if row.state not in DONE:
            refused.append(redeliveries.Asked(row.transaction_id, row.state, None).refusal)
        elif row.transaction_id not in ids:
            ids.append(row.transaction_id)
            states[row.state] = states.get(row.state, 0) + 1
    return Selection(tuple(ids), states, tuple(refused))


def select_fitting(conninfo: str, chosen: Filter) -> Selection:
    """All transactions that fit `chosen`, of the newest MOST. Raises SourceError where Postgres does not answer."""
    page = list_transactions(conninfo, chosen.states, MOST, look_back=MOST)
    now_s = time.time()
    fitting = [row for row in page if chosen.fits(row, now_s)]
    states: dict[str, int] = {}
    for row in fitting:
        states[row.state] = states.get(row.state, 0) + 1
    ids = tuple(row.transaction_id for row in fitting if row.state in DONE)
    done = {state: count for state, count in states.items() if state in DONE}
    complete = page.complete and len(page) < MOST
    return Selection(ids, done, on_their_way=len(fitting) - len(ids), complete=complete)


def redeliver(
    conninfo: str, ids: Sequence[str], reason: str, on_progress: Callable[[int], object] = lambda _: None
) -> Asked:
    """Asks for each of `ids` (whole ids) to be delivered once more.

    Args:
        conninfo: Postgres.
        ids: which ones. One that is still on its way, or was asked for and has not arrived, is refused with a sentence.
        reason: why, in words; kept with each.
        on_progress: called with how many were looked at, after each thousand.

    Raises:
        SourceError: Postgres does not answer. What was asked for before that stays asked for, and asking for the same
            ids again takes nothing twice while it is on its way.
    """
    numbers: dict[str, int] = {}
    refused: list[str] = []
    options = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}"
    try:
        bounded = make_conninfo(conninfo, connect_timeout=2, options=options, application_name="bruce-control")
        with psycopg.connect(bounded, autocommit=True) as connection:
            rest, looked_at = iter(dict.fromkeys(ids)), 0
            while chunk := list(islice(rest, CHUNK_IDS)):
                for each in redeliveries.ask(connection, chunk, reason):
                    if each.number is None:
                        refused.append(each.refusal)
                    else:
                        numbers[each.transaction_id] = each.number
                looked_at += len(chunk)
                on_progress(looked_at)
    except psycopg.Error as error:
        told = f" ({len(numbers):,} were asked for before)" if numbers else ""
        raise SourceError(f"Postgres does not take the redelivery: {first_line(error)}{told}") from error
    return Asked(numbers, tuple(refused))


def _counted(count: int) -> str:
    return f"{count:,} transaction{'s' * (count != 1)}"


def _them(count: int) -> str:
    return "each" if count != 1 else "it"
