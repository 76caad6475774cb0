"""Why a transaction was delivered more than once: one cause per delivery beyond the first, from evidence alone.

A redelivery that an operator asked for has a number, which its lines in the ledger carry (`red`). The first delivery of
each number, and the transaction's own first one beside them, came because somebody asked: `redelivered-by-operator`, if
redeliveries.jsonl has that number for that id; a number that nobody gave explains nothing: `unexplained`. Every other
later delivery is compared with the one before it (by the merchant's clock) of the same number, or of none. The Kafka
record (`src`), the round and attempt (`att`) tell what kind of repetition it is; the fault log tells what made it
happen. In order:

1. a line without a record or attempt number: `unexplained`;
2. an earlier attempt or round after a later one, while a fault was on the dispatcher's link to the merchant: the link
   had kept the request, which had been given up and made again meanwhile: `arrived-late`;
3. another record, higher round: the event was re-queued although it had arrived (its 2xx never reached the
   dispatcher): `requeued-although-delivered`;
4. another record, first round both times: `published-twice` (API and publisher both, or a report that was lost);
5. another record, same later round or an earlier one: an original was worked on again after its re-queue was in
   Kafka: `requeued-twice`;
6. the same record after a delivery whose 2xx the merchant cut off on purpose (the ledger's `ans` says so): the
   dispatcher cannot have had it: `answer-lost`, a fact;
7. the same record while the dispatcher was killed, crashed, frozen or restarted between the two: `dispatcher-ended`;
8. the same record, same round, an earlier attempt, within 2 s: it was given up while it waited at the merchant, and
   the next one overtook it: `arrived-late`. A process that ended is not back so soon, so this cannot hide its end;
9. the same record, same round, a later attempt: the dispatcher went on trying, so it never saw the 2xx, as one must
   infer: `answer-lost`;
10. the same record while a fault on a broker, or on the dispatcher's link to Kafka, was on between the two, or Kafka
   was made anew so shortly before that the dispatcher had not noticed: the partitions moved: `partitions-moved`;
11. anything else: `unexplained`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Final

from control_room.verify.faults import Fault
from control_room.verify.history import Arrival, History

CUT: Final = "cut"
CLOCK_SLACK_S: Final = 1.0
"""A fault is announced a moment before it is applied, and a 2xx may be written a moment before its answer leaves."""

WIPED: Final = "wipe-kafka"
NOTICED_S: Final = 8.0
"""By then the dispatcher has found out that Kafka was made anew, and begun anew itself: it looks every 2 s, hears what
it asked at the next look, and waits 2 s for an answer. What it delivers before is read again."""

OVERTAKEN_S: Final = 2.0
"""Between an attempt and an earlier one that it overtook at the merchant; see rule 8."""


class Cause(StrEnum):
    """Why a delivery came again."""

    ANSWER_LOST = "answer-lost"
    ARRIVED_LATE = "arrived-late"
    DISPATCHER_ENDED = "dispatcher-ended"
    PARTITIONS_MOVED = "partitions-moved"
    PUBLISHED_TWICE = "published-twice"
    REDELIVERED_BY_OPERATOR = "redelivered-by-operator"
    REQUEUED_ALTHOUGH_DELIVERED = "requeued-although-delivered"
    REQUEUED_TWICE = "requeued-twice"
    UNEXPLAINED = "unexplained"


WORDS: Final = {
    Cause.ANSWER_LOST: "redelivered after the answer was lost",
    Cause.ARRIVED_LATE: "given up, kept by the link or the merchant, and overtaken by a later attempt",
    Cause.DISPATCHER_ENDED: "redelivered after the dispatcher ended between the 2xx and its commit",
    Cause.PARTITIONS_MOVED: "redelivered after a fault on a broker, or on the link to it, moved the partitions",
    Cause.PUBLISHED_TWICE: "published twice",
    Cause.REDELIVERED_BY_OPERATOR: "redelivered by an operator",
    Cause.REQUEUED_ALTHOUGH_DELIVERED: "re-queued although delivered (answer lost)",
    Cause.REQUEUED_TWICE: "re-queued, and its original worked on again",
    Cause.UNEXPLAINED: "unexplained",
}


def causes(history: History, faults: Sequence[Fault], asked: Collection[str] = ()) -> Iterator[Cause]:
    """The cause of each delivery beyond the first.

    Args:
        history: of one transaction.
        faults: the run's faults.
        asked: the numbers of the redeliveries that an operator asked for, of this transaction.
    """
    last: dict[str, Arrival] = {}
    for later in sorted(history.arrivals or (), key=lambda arrival: arrival.at):
        earlier = last.get(later.redelivery)
        if earlier is not None:
            yield _cause(earlier, later, faults)
        elif last:
            numbers = {*last, later.redelivery} - {""}
            yield Cause.REDELIVERED_BY_OPERATOR if numbers <= set(asked) else Cause.UNEXPLAINED
        last[later.redelivery] = later


def _cause(earlier: Arrival, later: Arrival, faults: Sequence[Fault]) -> Cause:
    before, after = _attempt(earlier.attempt), _attempt(later.attempt)
    if before is None or after is None or not earlier.source or not later.source:
        return Cause.UNEXPLAINED
    begin, end = earlier.at - CLOCK_SLACK_S, later.at + CLOCK_SLACK_S
    between = [fault for fault in faults if fault.within(begin, end)]
    if after < before and any(fault.on_link("dispatcher", "merchant-server") for fault in between):
        return Cause.ARRIVED_LATE
    if earlier.source != later.source:
        if after[0] > before[0]:
            return Cause.REQUEUED_ALTHOUGH_DELIVERED
        return Cause.PUBLISHED_TWICE if after[0] == before[0] == 1 else Cause.REQUEUED_TWICE
    if earlier.answer == CUT:
        return Cause.ANSWER_LOST
    if any(fault.hits("dispatcher") for fault in between):
        return Cause.DISPATCHER_ENDED
    if after[0] == before[0] and after < before and later.at - earlier.at < OVERTAKEN_S:
        return Cause.ARRIVED_LATE
    if after[0] == before[0] and after[1] > before[1]:
        return Cause.ANSWER_LOST
    if any(fault.hits("kafka") or fault.on_link("dispatcher", "kafka") for fault in between):
        return Cause.PARTITIONS_MOVED
    if any(fault.name == WIPED and fault.within(begin - NOTICED_S, end) for fault in faults):
        return Cause.PARTITIONS_MOVED
    return Cause.UNEXPLAINED


def _attempt(text: str) -> tuple[int, int] | None:
    first, dot, second = text.partition(".")
    if dot and text.isascii() and first.isdigit() and second.isdigit() and len(text) < 20:
        return int(first), int(second)
    return None
