"""What an operator had delivered once more: redeliveries.jsonl. It explains duplicates, and excuses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from control_room.verify.chained import records, shaped
from control_room.verify.files import REDELIVERIES


@dataclass(slots=True)
class Redeliveries:
    """The redeliveries of a run's ids."""

    by_id: dict[str, set[str]] = field(default_factory=dict)
    """Numbers as text, by transaction id: as the ledger has them."""
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


Asked = Mapping[str, set[str]]


def read_redeliveries(run_dir: Path) -> Redeliveries:
    """The redeliveries; none where the file is missing. Raises EvidenceError where it is damaged."""
    found = Redeliveries()
    with shaped(REDELIVERIES):
        for record in records(run_dir / REDELIVERIES):
            if record["k"] == "redelivery":
                found.by_id.setdefault(record["id"].lower(), set()).add(str(int(record["number"])))
                found.asked += 1
                found.open += record["ended"] is None
    return found
