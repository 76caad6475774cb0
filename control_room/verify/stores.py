"""Reading what Postgres said about ids that are open or had no answer, and how the drain ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from control_room.verify.chained import document, records, shaped
from control_room.verify.files import ATTEMPTS, DRAIN, STORES

PENDING: Final = {"outbox": "outbox", "in-kafka": "kafka", "retrying": "retrying", "requeued": "requeued"}
"""States in which a delivery is still to come, and their place in the arithmetic."""


CLOCKS_DIFFER_S: Final = 60.0
"""Postgres' clock may be so far from the client's."""


class StoreLine(NamedTuple):
    """What Postgres said about one id."""

    payment: bool
    accepted_at: float
    """Unix seconds; 0 where there is no payment."""
    state: str
    place: str
    """Where it lies, in words."""
    error: str
    outbox: str = ""
    """`pending`, `published` or `missing`."""
    partition: int | None = None
    offset: int | None = None


@dataclass(slots=True)
class Stores:
    """What Postgres said. Silence about an id is knowledge only where `complete` is true."""

    complete: bool = False
    lines: dict[str, StoreLine] = field(default_factory=dict)
    pruned_to: float = 0.0
    """Unix seconds: the newest acceptance among all payments that retention has deleted; 0 where none was."""

    def may_have_pruned(self, accepted_after: float) -> bool:
        """Whether a payment that was accepted after that moment may be missing because it was pruned."""
        return self.pruned_to > max(0.0, accepted_after - CLOCKS_DIFFER_S)


def read_stores(run_dir: Path) -> Stores:
    """The stores' side; not complete where the file is missing, unfinished, or says so. Raises EvidenceError.

    Of two lines of one id the later one counts: what Kafka showed of a claim that stands in the first.
    """
    stores = Stores()
    with shaped(STORES):
        for record in records(run_dir / STORES):
            if record["k"] == "store":
                stores.complete = False
                stores.lines[record["id"].lower()] = _line(record)
            elif record["k"] == "sources":
                stores.complete = record["complete"] is True
                stores.pruned_to = float(record.get("pruned_to") or 0.0)
    return stores


def _line(record: dict[str, Any]) -> StoreLine:
    state = str(record["state"])
    partition, offset = record.get("partition"), record.get("offset")
    place = state if partition is None else f"{state}, record {partition}@{offset}"
    return StoreLine(
        record["payment"] is True,
        float(record.get("accepted_at") or 0.0),
        state,
        place,
        str(record.get("error") or ""),
        str(record.get("outbox") or ""),
        None if partition is None else int(partition),
        None if offset is None else int(offset),
    )


@dataclass(frozen=True, slots=True)
class Drain:
    """How waiting for the deliveries ended."""

    complete: bool
    """False: the deadline came first."""
    ended_at: float
    """Unix seconds."""
    ledger_next: int
    """The first ledger line that the wait had not read."""
    ledger_shrank: bool
    """Whether the merchant ever reported fewer ledger lines than before: lines that were synced are gone."""


def read_drain(run_dir: Path) -> Drain | None:
    """How the drain ended; None where nobody waited for it to the end. Raises EvidenceError."""
    found = document(run_dir / DRAIN)
    if found is None:
        return None
    with shaped(DRAIN):
        ended = found["ended"]
        if ended not in ("complete", "deadline"):
            raise ValueError(f"ended is {ended!r}")
        return Drain(
            ended == "complete",
            float(found["ended_at"]),
            int(found.get("ledger_next", 0)),
            bool(found.get("ledger_shrank", False)),
        )


def last_attempts(run_dir: Path, wanted: set[str]) -> dict[str, str]:
    """The last recorded attempt of each wanted id, in words. Raises EvidenceError where the file is damaged."""
    found: dict[str, tuple[float, str]] = {}
    with shaped(ATTEMPTS):
        for record in records(run_dir / ATTEMPTS):
            transaction_id = record.get("id", "").lower()
            if transaction_id not in wanted:
                continue
            at = float(record["at"])
            if transaction_id not in found or found[transaction_id][0] <= at:
                answer = record["status"] if record["status"] is not None else record["error"] or "no answer"
                found[transaction_id] = (at, f"last attempt {record['round']}.{record['try']}: {answer}")
    return {transaction_id: words for transaction_id, (_, words) in found.items()}
