"""What is sent, how the receiver behaves, and what both saw: the values that the bench's processes exchange."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Load:
    """What the publisher sends."""

    events: int
    connections: int = 64
    rate_per_s: float | None = None
    """Open loop: events leave by the clock. None: closed loop, the next one leaves when one is answered."""
    batch: int = 1
    """Events in one request."""
    give_up_s: float = 60.0
    """How long one request is sent again where it was not answered."""

    @property
    def mode(self) -> str:
        """`open` or `closed`."""
        return "closed" if self.rate_per_s is None else "open"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the receiver answers."""

    failing: float = 0.0
    """Share of requests that are answered 500 at once."""
    hanging: float = 0.0
    """Share of requests that are never answered."""


@dataclass(slots=True)
class Published:
    """What the publisher saw, one value for each event. Times are `time.monotonic()`, which all processes share."""

    scheduled_s: array[float]
    """When it should have left; 0 where it never did."""
    sent_s: array[float]
    answered_s: array[float]
    status: array[int]
    """The last answer; 0 where there was none."""
    tries: array[int]
    answers: dict[str, int]
    """Requests by answer."""
    cpu_s: float = 0.0

    @classmethod
    def empty(cls, events: int) -> Published:
        """Nothing was sent."""
        scheduled_s, sent_s, answered_s = (array("d", bytes(8 * events)) for _ in range(3))
        status, tries = (array("i", bytes(4 * events)) for _ in range(2))
        return cls(scheduled_s, sent_s, answered_s, status, tries, answers={})


class Attempt(NamedTuple):
    """One request that reached the receiver."""

    event_id: str
    at_s: float
    ok: bool
