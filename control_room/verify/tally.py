"""Counting classes and places while every id is looked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from control_room.verify.arithmetic import Arithmetic
from control_room.verify.classes import TransactionClass
from control_room.verify.deliveries import MISSING, Deliveries
from control_room.verify.history import History
from control_room.verify.stores import PENDING, StoreLine

EXAMPLES: Final = 20
"""Ids shown per class."""
EXPLAINED: Final = 100_000
"""Ids whose last attempt is looked up: enough to explain, too few to fill the memory."""
DUPLICATED: Final = "duplicated"
_PLAIN: Final = frozenset(
    {TransactionClass.DELIVERED, TransactionClass.EARLIER, TransactionClass.REFUSED, TransactionClass.FOREIGN}
)


@dataclass(slots=True)
class Tally:
    """How many ids are of which class, where the open ones lie, and some of each class that is not plain."""

    classes: Counter[TransactionClass] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    """Acknowledged ids that did not arrive, by what Postgres says of them."""
    accepted: int = 0
    delivered: int = 0
    duplicated: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, tuple[TransactionClass, str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    """Ids that did not arrive and need an explanation."""

    def add(
        self,
        transaction_id: str,
        history: History,
        found: TransactionClass,
        why: str,
        stores: Mapping[str, StoreLine],
    ) -> None:
        """Counts one id."""
        self.classes[found] += 1
        if history.duplicates and history.sent:
            self.duplicated += 1
        if history.acknowledged:
            self._place(transaction_id, history, found, stores)
        if found in _PLAIN:
            return
        examples = self.examples.setdefault(found.value, [])
        if len(examples) < EXAMPLES:
            examples.append(transaction_id)
            self.why[transaction_id] = found, why
        if found in MISSING and len(self.absent) < EXPLAINED:
            self.absent.add(transaction_id)

    def _place(
        self, transaction_id: str, history: History, found: TransactionClass, stores: Mapping[str, StoreLine]
    ) -> None:
        self.accepted += 1
        arrived = history.first_arrival is not None and found is not TransactionClass.LOST
        if arrived or found is TransactionClass.EARLIER:
            self.delivered += 1
            return
        line = stores.get(transaction_id)
        if line is not None and line.payment:
            self.places[PENDING.get(line.state, line.state)] += 1

    def arithmetic(self) -> Arithmetic:
        """The sum at the end of the run: nothing is in flight in files."""
        places = self.places
        return Arithmetic.balanced(
            self.accepted,
            self.delivered,
            {name: places[name] for name in ("outbox", "kafka", "retrying", "requeued", "dead")},
        )

    def counts(self) -> dict[str, int]:
        """Every class by name, and `duplicated`."""
        return {member.value: self.classes[member] for member in TransactionClass} | {DUPLICATED: self.duplicated}

    def explained(self, deliveries: Deliveries) -> dict[str, str]:
        """The explanation of each example that has one."""
        found = {}
        for transaction_id, (outcome, words) in self.why.items():
            history = deliveries.histories.get(transaction_id) or deliveries.strangers[transaction_id]
            found[transaction_id] = deliveries.explained(transaction_id, history, outcome, words)
        return {transaction_id: words for transaction_id, words in found.items() if words}
