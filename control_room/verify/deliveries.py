"""One row per transaction id: what deliveries.csv holds, made on demand from the histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from control_room.verify.classes import Circumstances, TransactionClass, classify
from control_room.verify.duplicates import Cause, causes
from control_room.verify.faults import Fault
from control_room.verify.history import Histories, History


class Delivery(NamedTuple):
    """What became of one transaction id."""

    transaction_id: str
    accepted_at: float
    """Unix seconds of the first 201; 0 where there was none."""
    delivered_at: float
    """Unix seconds of the first 2xx; 0 where there was none."""
    attempts: int
    rounds: int
    answers: str
    """The merchant's statuses in order."""
    duplicates: int
    causes: tuple[Cause, ...]
    """Of the duplicates, each cause once."""
    outcome: TransactionClass
    why: str


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Every id of a run, those its client sent first, then those only the ledger knows."""

    histories: Histories
    strangers: Histories
    circumstances: Circumstances
    faults: Sequence[Fault]
    last_attempts: Mapping[str, str] = field(default_factory=dict)
    """For ids that did not arrive: the last recorded attempt, in words."""

    def found(self) -> Iterator[tuple[str, History, TransactionClass, str]]:
        """Each id with its history, class and why."""
        for histories in (self.histories, self.strangers):
            for transaction_id, history in histories.items():
                outcome, why = classify(transaction_id, history, self.circumstances)
                if why and transaction_id in self.last_attempts:
                    why = f"{why}; {self.last_attempts[transaction_id]}"
                yield transaction_id, history, outcome, why

    def __iter__(self) -> Iterator[Delivery]:
        """Each id as a row."""
        for transaction_id, history, outcome, why in self.found():
            yield Delivery(
                transaction_id,
                history.accepted_at,
                history.delivered_at,
                history.attempts,
                history.rounds,
                history.answers,
                history.duplicates,
                tuple(dict.fromkeys(causes(history, self.faults))) if history.arrivals else (),
                outcome,
                why,
            )

    def duplicate_causes(self) -> Counter[Cause]:
        """Deliveries beyond the first, by cause; of this run's ids alone."""
        counted: Counter[Cause] = Counter()
        for history in self.histories.values():
            if history.arrivals:
                counted.update(causes(history, self.faults))
        return counted
