"""One transaction's history: what its client sent and was told, and what the merchant's ledger holds of it.

A run has up to a million of these, so they are slots with small values, and what is rare lies in lists made on demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Arrival(NamedTuple):
    """One 2xx line of the ledger."""

    at: float
    """Unix seconds."""
    source: str
    """The Kafka record, `partition@offset`."""
    attempt: str
    """`round.attempt`."""
    dispatcher: str
    answer: str = ""
    """`cut` where the merchant reset the connection instead of answering, `drip` where the answer came byte by byte."""
    redelivery: str = ""
    """The number of the redelivery that it belongs to; empty for the transaction's own delivery."""


class Body:
    """One content that was sent under an id, and what the client was told about it."""

    __slots__ = ("acks", "arrived", "refusals", "sha", "silences")

    def __init__(self, sha: bytes) -> None:
        self.sha = sha
        """SHA-256 of the bytes sent."""
        self.acks = 0
        """Sends answered 201."""
        self.refusals = 0
        """Sends answered 4xx."""
        self.silences = 0
        """Sends without a definite answer: time-out, reset, 5xx, or no line at all."""
        self.arrived = False
        """Whether exactly these bytes stand in the ledger with a 2xx."""


class History(Body):
    """All that the client and the merchant know about one transaction id; its first content is the history itself."""

    __slots__ = (
        "accepted_at",
        "answers",
        "arrivals",
        "bad_signature",
        "first_arrival",
        "foreign_bytes",
        "fresh",
        "rounds",
        "sent",
        "variants",
    )

    def __init__(self, sha: bytes = b"") -> None:
        super().__init__(sha)
        self.sent = True
        """False for an id that only the ledger knows."""
        self.variants: list[Body] | None = None
        """Further contents sent under the same id."""
        self.accepted_at = 0.0
        """Unix seconds of the first 201; 0 where there was none."""
        self.fresh = False
        """Whether a 201 said that the event was new (`dup` false)."""
        self.answers = ""
        """The ledger's statuses in order, separated by spaces."""
        self.rounds = 0
        self.first_arrival: Arrival | None = None
        self.arrivals: list[Arrival] | None = None
        """All arrivals, where there is more than one."""
        self.foreign_bytes = False
        """Whether a 2xx line holds bytes that the client never sent under this id."""
        self.bad_signature = False
        """Whether a signature did not verify on a 2xx line."""

    def body(self, sha: bytes) -> Body:
        """The content with this SHA-256, made where it is new."""
        for body in self.bodies():
            if body.sha == sha:
                return body
        body = Body(sha)
        self.variants = [*(self.variants or ()), body]
        return body

    def bodies(self) -> Iterator[Body]:
        """Every content sent under this id."""
        yield self
        if self.variants:
            yield from self.variants

    @property
    def acknowledged(self) -> bool:
        """Whether the API answered 201 for any content of this id."""
        return self.accepted_at > 0

    @property
    def plain(self) -> bool:
        """Whether one content was sent, acknowledged, and arrived as it was sent with good signatures: nearly all."""
        return (
            self.arrived
            and self.acks > 0
            and self.accepted_at > 0
            and self.variants is None
            and not self.foreign_bytes
            and not self.bad_signature
        )

    @property
    def unanswered(self) -> bool:
        """Whether any send had no definite answer."""
        return any(body.silences for body in self.bodies())

    @property
    def delivered_at(self) -> float:
        """Unix seconds of the first 2xx; 0 where there is none."""
        return self.first_arrival.at if self.first_arrival else 0.0

    @property
    def duplicates(self) -> int:
        """Deliveries beyond the first."""
        return len(self.arrivals) - 1 if self.arrivals else 0

    @property
    def attempts(self) -> int:
        """Requests that the merchant answered or held back."""
        return self.answers.count(" ") + 1 if self.answers else 0

    def arrive(self, arrival: Arrival, sha: bytes) -> None:
        """Notes one 2xx line of the ledger with the SHA-256 of its bytes."""
        if self.first_arrival is None:
            self.first_arrival = arrival
        elif self.arrivals is None:
            self.arrivals = [self.first_arrival, arrival]
        else:
            self.arrivals.append(arrival)
        if not self.sent:
            return
        if self.variants is None and self.sha == sha:
            self.arrived = True
            return
        for body in self.bodies():
            if body.sha == sha:
                body.arrived = True
                return
        self.foreign_bytes = True

    @property
    def wrong_bytes(self) -> bool:
        """Whether a delivery holds bytes that the API did not take under this id.

        With a 201 only acknowledged contents are right: a second content is refused with 409, so one without an
        answer cannot have been stored. Without a 201 any content without an answer may be the one stored.
        """
        if self.foreign_bytes:
            return True
        if self.acknowledged:
            return any(body.arrived and not body.acks for body in self.bodies())
        return any(body.arrived and not body.silences for body in self.bodies())

    @property
    def unmet_acknowledgement(self) -> bool:
        """Whether a content was answered 201 and never arrived."""
        return any(body.acks and not body.arrived for body in self.bodies())


Histories = dict[str, History]
"""By transaction id in lower case."""
