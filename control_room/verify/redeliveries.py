"""What an operator had delivered once more: redeliveries.jsonl. It explains duplicates, and excuses nothing.

One that Postgres has as delivered must stand in the ledger under its number: the list is written before the ledger is
copied, and a line is on the merchant's disk before its answer leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from control_room.verify.chained import records, shaped
from control_room.verify.files import REDELIVERIES
from control_room.verify.history import Histories, History


@dataclass(slots=True)
class Redeliveries:
    """The redeliveries of a run's ids."""

    by_id: dict[str, set[str]] = field(default_factory=dict)
    """Numbers as text, by transaction id: as the ledger has them."""
    delivered: list[tuple[str, str]] = field(default_factory=list)
    """Transaction id and number of those that Postgres has as delivered."""
    asked: int = 0
    open: int = 0
    """Of these, how many had not ended when the evidence was gathered."""

    @property
    def note(self) -> str:
        """For the verdict; empty where nothing was asked for."""
        if not self.asked:
            return ""
        left = f"; {self.open} had not arrived" if self.open else ""
        return f"{self.asked} redeliver{'ies were' if self.asked != 1 else 'y was'} asked for by an operator{left}."

    def unsent(self, histories: Histories) -> str:
        """A sentence about those that are recorded as delivered and not in the ledger; empty where there is none."""
        missing = [(id_, number) for id_, number in self.delivered if number not in _arrived(histories.get(id_))]
        if not missing:
            return ""
        several = f"{len(missing)} redeliveries are" if len(missing) > 1 else "1 redelivery is"
        id_, number = missing[0]
        return f"{several} recorded as delivered and not in the ledger: number {number} of {id_}."


def _arrived(history: History | None) -> set[str]:
    if history is None or history.first_arrival is None:
        return set()
    return {each.redelivery for each in history.arrivals or [history.first_arrival]}


Asked = Mapping[str, set[str]]


def read_redeliveries(run_dir: Path) -> Redeliveries:
    """The redeliveries; none where the file is missing. Raises EvidenceError where it is damaged."""
    found = Redeliveries()
    with shaped(REDELIVERIES):
        for record in records(run_dir / REDELIVERIES):
            if record["k"] == "redelivery":
                transaction_id, number = record["id"].lower(), str(int(record["number"]))
                found.by_id.setdefault(transaction_id, set()).add(number)
                if record["as"] == "delivered":
                    found.delivered.append((transaction_id, number))
                found.asked += 1
                found.open += record["ended"] is None
    return found
