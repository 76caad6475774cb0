"""Transactions and where each one is, derived from what the pipeline records in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import args_row

from control_room.tracking import transactions_sql as sql
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.pipeline import connect
from control_room.tracking.states import MISSING, STATES

DEFAULT_LOOK_BACK: Final = 200_000
"""How many of the newest payments a search goes through at most: a second of Postgres' time, not a minute."""
MIN_PREFIX_CHARS: Final = 4
_OPEN: Final = frozenset({"retrying", "requeued", "dead"})
_HEX: Final = frozenset("0123456789abcdef")


class TransactionLookupError(LookupError):
    """No transaction, or no single one, fits what was asked for. The message is a sentence."""


class UnknownTransactionError(TransactionLookupError):
    """No payment has this id."""


class AmbiguousIdError(TransactionLookupError):
    """Several payments share the prefix; `candidates` holds the first of them."""

    def __init__(self, sentence: str, candidates: list[str]) -> None:
        super().__init__(sentence)
        self.candidates = candidates


class TransactionRow(NamedTuple):
    """One transaction as it stands, its fields in the order of what the statements select. Times are Unix seconds."""

    transaction_id: str
    amount_inr: Decimal
    status: str
    """The payment's own: SUCCESS or FAILED."""
    sender_name: str
    receiver_name: str
    accepted_at_s: float
    accepted_by: str
    state: str
    """One of STATES, or MISSING."""
    published_at_s: float | None
    published_by: str | None
    partition: int | None
    offset: int | None
    republished: int
    round: int
    """0 before the first attempt."""
    attempt: int
    attempts_total: int
    last_status: int | None
    last_error: str | None
    next_due_at_s: float | None
    delivered_at_s: float | None
    age_s: float
    """Since it was accepted, by Postgres' clock."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types; the amount as text, so that no digit is lost."""
        return {**self._asdict(), "amount_inr": str(self.amount_inr)}


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """The rows of one search, and how far it looked."""

    rows: tuple[TransactionRow, ...]
    look_back: int
    complete: bool
    """False: the search ended at `look_back` before its page was full; older ones may fit too."""

    def __iter__(self) -> Iterator[TransactionRow]:
        """The rows, newest first."""
        return iter(self.rows)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)


def list_transactions(
    conninfo: str,
    states: Iterable[str] = (),
    limit: int = 50,
    *,
    min_attempts: int = 0,
    min_age_s: float = 0.0,
    text: str = "",
    look_back: int = DEFAULT_LOOK_BACK,
) -> TransactionPage:
    """The newest transactions that fit, newest first.

    Args:
        conninfo: libpq connection string.
        states: only these of STATES (or MISSING); none given means all.
        limit: at most so many rows.
        min_attempts: only those tried at least so often, over all rounds.
        min_age_s: only those accepted at least so long ago.
        text: only those whose id begins with it, or whose names or last error hold it.
        look_back: how many rows a search goes through at most.

    Raises:
        ValueError: a state that does not exist.
        SourceError: Postgres does not answer, or not in time.
    """
    wanted = frozenset(states)
    if unknown := wanted - {*STATES, MISSING}:
        raise ValueError(f"there is no state {', '.join(sorted(unknown))}; states are {', '.join(STATES)}")
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    given: dict[str, Any] = {
        "limit": limit,
        "min_attempts": min_attempts,
        "min_age_s": max(0.0, min_age_s),
        "pattern": f"%{escaped}%" if text else None,
        "prefix": f"{escaped.lower()}%",
        "look_back": look_back,
    }
    found: dict[str, TransactionRow] = {}
    complete = True
    with connect(conninfo, 10_000) as connection:
        for statement, branch_states in _branches(wanted):
            rows = _rows(connection, statement, {**given, "states": branch_states})
            found.update({row.transaction_id: row for row in rows})
            complete = complete and (len(rows) == limit or _all_seen(connection, statement, look_back))
    newest_first = sorted(found.values(), key=lambda row: row.accepted_at_s, reverse=True)
    return TransactionPage(tuple(newest_first[:limit]), look_back, complete)


def _branches(wanted: frozenset[str]) -> list[tuple[str, list[str] | None]]:
    """The statements that together find all of `wanted`, each with the states it looks for (None: any)."""
    if not wanted or wanted >= set(STATES):
        return [(sql.BY_PAYMENT, sorted(wanted) or None)]
    branches: list[tuple[str, list[str] | None]] = []
    if "outbox" in wanted:
        branches += [(sql.BY_OUTBOX, ["outbox"]), (sql.BY_REDELIVERY, ["outbox"])]
    if wanted & _OPEN:
        branches.append((sql.BY_DELIVERY, sorted(wanted & _OPEN)))
    if rest := wanted - _OPEN - {"outbox"}:
        branches.append((sql.BY_PAYMENT, sorted(rest)))
    return branches


def _all_seen(connection: psycopg.Connection[Any], statement: str, look_back: int) -> bool:
    """Whether the branch's driving table holds no more than `look_back` rows, counted no further than that."""
    source = {
        sql.BY_PAYMENT: "SELECT 1 FROM payments",
        sql.BY_OUTBOX: "SELECT 1 FROM outbox_events WHERE published_at IS NULL",
        sql.BY_DELIVERY: "SELECT 1 FROM deliveries WHERE state <> 'delivered'",
        sql.BY_REDELIVERY: "SELECT 1 FROM redeliveries WHERE state_before = 'dead' AND ended_at IS NULL",
    }[statement]
    text = f"SELECT 1 FROM ({source} OFFSET %s LIMIT 1) beyond"  # noqa: S608 - made of constants
    try:
        return connection.execute(text.encode(), [look_back]).fetchone() is None
    except psycopg.Error as error:
        raise SourceError(f"Postgres: {first_line(error)}") from error


def find_transaction(conninfo: str, text: str) -> TransactionRow:
    """The one transaction whose id is, or begins with, `text` (at least 4 hex digits; hyphens do not matter).

    Raises:
        ValueError: not the beginning of an id.
        UnknownTransactionError: none fits.
        AmbiguousIdError: several fit.
        SourceError: Postgres does not answer.
    """
    digits = text.strip().lower().replace("-", "")
    if not MIN_PREFIX_CHARS <= len(digits) <= 32 or not set(digits) <= _HEX:
        raise ValueError(f"a transaction id is 32 hex digits; give all or at least the first {MIN_PREFIX_CHARS}")
    given = {"low": digits.ljust(32, "0"), "high": digits.ljust(32, "f"), "limit": 6}
    with connect(conninfo) as connection:
        rows = _rows(connection, sql.BY_ID_RANGE, given)
    if not rows:
        raise UnknownTransactionError(
            f"no accepted payment has an id that begins with {digits}; what was delivered is kept for RETENTION_DAYS"
        )
    if len(rows) > 1:
        ids = [row.transaction_id for row in rows]
        more = " and more" if len(rows) == given["limit"] else ""
        raise AmbiguousIdError(f"{digits} fits several: {', '.join(ids[:5])}{more}", ids)
    return rows[0]


def _rows(connection: psycopg.Connection[Any], statement: str, given: Mapping[str, Any]) -> list[TransactionRow]:
    try:
        with connection.cursor(row_factory=args_row(TransactionRow)) as cursor:
            return cursor.execute(statement.encode(), given).fetchall()
    except psycopg.Error as error:
        raise SourceError(f"Postgres: {first_line(error)}") from error
