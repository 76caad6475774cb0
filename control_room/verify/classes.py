"""What became of one transaction: exactly one class per id, and why (design: "The promise, as arithmetic").

One id may be sent several times, with one content or several. It counts as acknowledged when any send was answered 201.
- A 409 beside a 201 is right: the id was accepted with other content. What arrives must be bytes that were accepted.
- 4xx only, and delivered: LEAKED; unless the id is known from before the run or from another run: then it is theirs.
- No 201, but a send without an answer: it may have been stored. Arrived: recovered. Stored and not arrived: STRANDED.
- Two contents both answered 201 under one id, and only one arrived: LOST, for the other's sender was promised it.
- An id acknowledged only as a duplicate may have been delivered before the run: the merchant's earlier ledger shows it.
- Arrived although Postgres has no payment row: PHANTOM, for what was rolled back must never leave the house. Unknown
  where retention has pruned payments of the run's time since: nobody can tell any more whether it was stored.
Where the operation log has no end its tail may be missing, so whatever only that tail could disprove is `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from control_room.verify.history import History
from control_room.verify.ledger import Outside
from control_room.verify.stores import PENDING, Drain, StoreLine, Stores


class TransactionClass(StrEnum):
    """What became of a transaction id."""

    DELIVERED = "delivered"
    RECOVERED = "recovered"
    """No definite answer to the client, yet delivered."""
    EARLIER = "earlier"
    """Acknowledged again as a duplicate (or not answered); the merchant had it before this run began."""
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    """No definite answer, not stored, not delivered."""
    FOREIGN = "foreign"
    """Somebody else's: out of this run's scope."""
    LATE = "late"
    """Not delivered when the drain met its deadline, and still on its way."""
    UNKNOWN = "unknown"
    LOST = "lost"
    PHANTOM = "phantom"
    LEAKED = "leaked"
    STRANDED = "stranded"
    CORRUPT = "corrupt"
    BAD_SIGNATURE = "bad-signature"


VIOLATIONS: Final = (
    TransactionClass.LOST,
    TransactionClass.PHANTOM,
    TransactionClass.LEAKED,
    TransactionClass.STRANDED,
    TransactionClass.CORRUPT,
    TransactionClass.BAD_SIGNATURE,
)
"""Any of these makes the verdict invalid."""

Finding = tuple[TransactionClass, str]
"""A class, and why; empty where the class says it all."""

_DELIVERED: Final[Finding] = (TransactionClass.DELIVERED, "")
_NO_END: Final = "the operation log has no end: its missing tail may explain this id"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else is known about the run."""

    outside: Outside
    stores: Stores
    drain: Drain | None
    log_ended: bool
    began_at: float = 0.0
    """Unix seconds."""

    def may_be_pruned(self, history: History) -> bool:
        """Whether Postgres may have had this payment and deleted it for its age.

        One that a 201 called new was accepted in this run; one that was only called known, at any time before.
        """
        known_before = history.acknowledged and not history.fresh
        return self.stores.may_have_pruned(0.0 if known_before else self.began_at)


def classify(transaction_id: str, history: History, known: Circumstances) -> Finding:
    """The class of one id and why."""
    if history.plain and transaction_id not in known.stores.lines:
        return _DELIVERED
    if not history.sent:
        return _stranger(transaction_id, known)
    if history.first_arrival is not None:
        return _arrived(transaction_id, history, known)
    if history.acknowledged:
        return _missing(transaction_id, history, known)
    if history.unanswered:
        return _silent(transaction_id, known)
    return TransactionClass.REFUSED, ""


def _stranger(transaction_id: str, known: Circumstances) -> Finding:
    if known.outside.knows(transaction_id):
        return TransactionClass.FOREIGN, ""
    if not known.log_ended:
        return TransactionClass.UNKNOWN, _NO_END
    return TransactionClass.PHANTOM, "in the ledger, never sent by this run's client or any other run known here"


def _arrived(transaction_id: str, history: History, known: Circumstances) -> Finding:
    if not history.acknowledged:
        foreign = known.outside.knows(transaction_id)
        if not history.unanswered:
            if foreign:
                return TransactionClass.FOREIGN, "refused here; delivered because somebody else had sent it"
            return _unless_cut(known, TransactionClass.LEAKED, "every send was refused with 4xx, yet it was delivered")
        if foreign and history.wrong_bytes:
            return TransactionClass.FOREIGN, "delivered as somebody else had sent it before"
    if history.wrong_bytes:
        words = "the delivered bytes are not those that were accepted under this id"
        return _unless_cut(known, TransactionClass.CORRUPT, words)
    if history.bad_signature:
        return TransactionClass.BAD_SIGNATURE, "delivered with a signature that does not verify"
    if history.variants and history.unmet_acknowledgement:
        return TransactionClass.LOST, "two contents were answered 201 under this id, and one of them never arrived"
    line = known.stores.lines.get(transaction_id) if known.stores.lines else None
    if line is not None and not line.payment:
        if known.may_be_pruned(history):
            return TransactionClass.UNKNOWN, "delivered, but its payment is gone: pruned for its age, or never stored"
        return (
            TransactionClass.PHANTOM,
            "delivered, but Postgres has no such payment: it was rolled back or never stored",
        )
    return _DELIVERED if history.acknowledged else (TransactionClass.RECOVERED, "")


def _unless_cut(known: Circumstances, found: TransactionClass, words: str) -> Finding:
    return (found, words) if known.log_ended else (TransactionClass.UNKNOWN, _NO_END)


def _missing(transaction_id: str, history: History, known: Circumstances) -> Finding:
    """Acknowledged, and no 2xx in the run's part of the ledger."""
    earlier = known.outside.earlier.get(transaction_id)
    if earlier and not history.fresh and all(body.sha in earlier for body in history.bodies() if body.acks):
        return TransactionClass.EARLIER, "acknowledged as a duplicate; the merchant had it before this run"
    line = known.stores.lines.get(transaction_id)
    if known.drain is None:
        return TransactionClass.UNKNOWN, "not in the ledger, and nobody waited for the drain"
    if known.drain.complete:
        return TransactionClass.LOST, _whereabouts(line)
    if line is None or not known.stores.complete:
        return TransactionClass.UNKNOWN, "not in the ledger at the deadline, and Postgres could not be asked about it"
    if _on_its_way(line):
        return TransactionClass.LATE, line.place
    return TransactionClass.LOST, _whereabouts(line)


def _silent(transaction_id: str, known: Circumstances) -> Finding:
    """No definite answer, and no 2xx in the run's part of the ledger."""
    line = known.stores.lines.get(transaction_id)
    if line is None or not known.stores.complete:
        return TransactionClass.UNKNOWN, "no answer, and it is not known whether it is in Postgres"
    if not line.payment:
        return TransactionClass.UNANSWERED, ""
    if transaction_id in known.outside.earlier:
        return TransactionClass.EARLIER, "no answer; the merchant had it before this run"
    if known.drain is None:
        return TransactionClass.UNKNOWN, "no answer, stored, not in the ledger, and nobody waited for the drain"
    stored_after = line.accepted_at > known.drain.ended_at
    if _on_its_way(line) and (stored_after or not known.drain.complete):
        return TransactionClass.LATE, line.place
    return TransactionClass.STRANDED, f"no answer, yet stored, and never delivered ({_whereabouts(line)})"


def _on_its_way(line: StoreLine) -> bool:
    return line.payment and line.state in PENDING


def _whereabouts(line: StoreLine | None) -> str:
    """Where a missing delivery was last seen. It explains; it never excuses."""
    if line is None:
        return "nothing is known of its whereabouts"
    if not line.payment:
        return "Postgres has no such payment"
    if line.state == "dead":
        return f"dead-lettered: {line.error or 'no reason was recorded'}"
    if line.state == "delivered":
        return f"recorded as delivered ({line.place}), but the merchant's ledger has no 2xx"
    if line.state == "skipped":
        return f"published and never tried, yet the dispatcher's committed offset has passed it ({line.place})"
    if line.state == "vanished":
        return f"published, but its record is not in the topic ({line.place})"
    if line.state == "nowhere":
        return f"recorded as still to be delivered, but no record of it in Kafka is left to deliver ({line.place})"
    if line.state == "missing":
        return "stored, but its outbox row is missing"
    return f"last seen: {line.place}"
