"""The promise as a sum: where every acknowledged transaction of a run is. It balances by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_WORDS: Final = (
    ("outbox", "in outbox"),
    ("kafka", "in Kafka"),
    ("in_flight", "in flight"),
    ("retrying", "retrying"),
    ("requeued", "re-queued"),
    ("dead", "dead-lettered"),
    ("unaccounted", "unaccounted"),
)
PLACES: Final = tuple(name for name, _ in _WORDS[:-1])
"""Where an undelivered transaction can be found; `unaccounted` is what is left when all of these were asked."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`accepted` equals the sum of the eight counts after it, at one moment."""

    accepted: int
    """Ids answered with 201."""
    delivered: int
    """Of those, the ids with a 2xx line in the merchant's ledger."""
    outbox: int = 0
    kafka: int = 0
    """Published and not tried yet."""
    in_flight: int = 0
    retrying: int = 0
    requeued: int = 0
    dead: int = 0
    unaccounted: int = 0
    """Nobody knows where these are: the alarm, when it stays above 0."""
    unanswered: int = 0
    """Outside the sum: ids that got no definite answer, are stored (or could not be looked up) and did not arrive."""
    stale: tuple[str, ...] = ()
    """Sources that did not answer, such as `postgres silent for 4 s`: the places above are then the last known ones."""

    @classmethod
    def balanced(
        cls,
        accepted: int,
        delivered: int,
        places: Mapping[str, int],
        *,
        unanswered: int = 0,
        stale: tuple[str, ...] = (),
    ) -> Arithmetic:
        """The sum with `unaccounted` as what is left over; negative if more was found than accepted: shown, not hidden.

        `places` holds counts by a name of PLACES.
        """
        left = accepted - delivered - sum(places.values())
        return cls(accepted, delivered, **places, unaccounted=left, unanswered=unanswered, stale=stale)

    @property
    def open(self) -> int:
        """Acknowledged and not delivered."""
        return self.accepted - self.delivered

    def line(self) -> str:
        """`300 accepted = 280 delivered + 3 in outbox + 17 in Kafka + 0 unaccounted`: zero places are left out."""
        parts = [f"{self.delivered} delivered"]
        parts += [
            f"{getattr(self, name)} {words}" for name, words in _WORDS if getattr(self, name) or name == "unaccounted"
        ]
        text = f"{self.accepted} accepted = " + " + ".join(parts)
        if self.unanswered:
            text += f"; {self.unanswered} without an answer"
        return text + "".join(f"; {note}" for note in self.stale)

    def to_json(self) -> dict[str, Any]:
        """For files: every count by name; `unanswered` and `stale` only where they say something."""
        record: dict[str, Any] = {"accepted": self.accepted, "delivered": self.delivered}
        record.update({name: getattr(self, name) for name, _ in _WORDS})
        if self.unanswered:
            record["unanswered"] = self.unanswered
        if self.stale:
            record["stale"] = list(self.stale)
        return record
