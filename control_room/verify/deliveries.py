"""One row per transaction id: what deliveries.csv holds, made on demand from the histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from control_room.verify.classes import Circumstances, TransactionClass, classify
from control_room.verify.crosscheck import CrossCheck
from control_room.verify.duplicates import Cause, causes
from control_room.verify.faults import Fault
from control_room.verify.history import Histories, History
from control_room.verify.redeliveries import Asked
from control_room.verify.whereabouts import trail

MISSING: Final = frozenset({TransactionClass.LOST, TransactionClass.STRANDED, TransactionClass.LATE})
"""Classes of ids that were promised, or may have been, and are not there."""


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
    crosscheck: CrossCheck | None = None
    last_attempts: Mapping[str, str] = field(default_factory=dict)
    """For ids that did not arrive: the last recorded attempt, in words."""
    asked: Asked = field(default_factory=dict)
    """The numbers of the redeliveries that an operator asked for, by id."""

    def found(self) -> Iterator[tuple[str, History, TransactionClass, str]]:
        """Each id with its history, class and why."""
        for histories in (self.histories, self.strangers):
            for transaction_id, history in histories.items():
                outcome, why = classify(transaction_id, history, self.circumstances)
                yield transaction_id, history, outcome, why

    def explained(self, transaction_id: str, history: History, outcome: TransactionClass, why: str) -> str:
        """`why`, and for an id that did not arrive where each store saw it last and the command that shows it."""
        if outcome not in MISSING:
            return why
        line = self.circumstances.stores.lines.get(transaction_id)
        way = trail(transaction_id, history, line, self.crosscheck, self.last_attempts.get(transaction_id))
        return f"{why}; {way}" if why else way

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
                tuple(dict.fromkeys(self._causes(transaction_id, history))) if history.arrivals else (),
                outcome,
                self.explained(transaction_id, history, outcome, why),
            )

    def duplicate_causes(self) -> Counter[Cause]:
        """Deliveries beyond the first, by cause; of this run's ids alone."""
        counted: Counter[Cause] = Counter()
        for transaction_id, history in self.histories.items():
            if history.arrivals:
                counted.update(self._causes(transaction_id, history))
        return counted

    def _causes(self, transaction_id: str, history: History) -> Iterator[Cause]:
        return causes(history, self.faults, self.asked.get(transaction_id, ()))
