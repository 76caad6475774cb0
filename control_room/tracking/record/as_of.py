"""The transactions of a finished run as they stood at a moment, and the story of one until then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.listing import DONE, LATEST, Listing, Query, arranged, latencies_s
from control_room.tracking.record.lives import Life, Lives
from control_room.tracking.states import ACCEPTED
from control_room.tracking.timeline import (
    ORDER,
    Redelivery,
    Timeline,
    TimelineEvent,
    fault_events,
    ledger_event,
    pipeline_events,
    with_gaps,
)
from control_room.tracking.transactions import (
    MIN_PREFIX_CHARS,
    AmbiguousIdError,
    TransactionRow,
    UnknownTransactionError,
)
from control_room.verify.files import FAULTS

LISTED_DONE: Final = 50_000
"""Of what is delivered, so many of the newest are listed; of what is open, everything."""


@dataclass(frozen=True, slots=True)
class Details:
    """What the source says of a payment; the run's files hold its hash alone."""

    amount_inr: Decimal = Decimal("NaN")
    status: str = ""
    sender_name: str = ""
    receiver_name: str = ""


_UNKNOWN: Final = Details()
DetailsOf = Callable[[int], Details | None]
"""By the line of the source."""


def row_at(life: Life, moment_s: float, details_of: DetailsOf = lambda _: None) -> TransactionRow | None:
    """The transaction at `moment_s` (Unix); None where it was not accepted yet."""
    begins_at_s, delivered_at_s = life.begins_at_s, life.delivered_at_s
    if begins_at_s is None or begins_at_s > moment_s:
        return None
    if delivered_at_s is not None and delivered_at_s > moment_s:
        delivered_at_s = None
    done = [each for each in life.attempts if each.ended_at_s <= moment_s]
    last = done[-1] if done else None
    told = details_of(life.row) or _UNKNOWN
    state = "delivered" if delivered_at_s is not None else _state(life, len(done))
    return TransactionRow(
        transaction_id=life.transaction_id,
        amount_inr=told.amount_inr,
        status=told.status,
        sender_name=told.sender_name,
        receiver_name=told.receiver_name,
        accepted_at_s=begins_at_s,
        accepted_by=life.accepted_by or "nobody that answered",
        state=state,
        published_at_s=None,
        published_by=None,
        partition=last.partition if last else None,
        offset=last.offset if last else None,
        republished=0,
        round=last.round if last else 0,
        attempt=last.attempt if last else 0,
        attempts_total=len(done),
        last_status=last.status if last else 200 if delivered_at_s is not None else None,
        last_error=last.error if last else None,
        next_due_at_s=last.next_due_at_s if last else None,
        delivered_at_s=delivered_at_s,
        age_s=moment_s - begins_at_s,
    )


def _state(life: Life, done: int) -> str:
    """Where it was after `done` attempts that failed."""
    if not done:
        return ACCEPTED
    if done < len(life.attempts):
        return "requeued" if life.attempts[done].round > life.attempts[done - 1].round else "retrying"
    return life.at_last if life.at_last in ("dead", "requeued") else "retrying"


def listing_at(lives: Lives, moment_s: float, query: Query, details_of: DetailsOf = lambda _: None) -> Listing:
    """The list at `moment_s`."""
    known = [life for life in lives.by_id.values() if (life.begins_at_s or 0.0) <= moment_s]
    unlisted = len(known) - LISTED_DONE
    rows = []
    for number, life in enumerate(known):
        delivered_at_s = life.delivered_at_s
        if number < unlisted and delivered_at_s is not None and delivered_at_s <= moment_s:
            continue
        row = row_at(life, moment_s, details_of)
        if row is not None:
            rows.append(row)
    still_open = [row for row in rows if row.state not in DONE]
    oldest = min(still_open, key=lambda row: row.accepted_at_s, default=None)
    took = tuple(latencies_s(rows)[-LATEST:])
    listed = arranged(rows, query, moment_s)
    return Listing(query, listed, len(rows), len(still_open), oldest, seen=len(known), latencies_s=took)


def arithmetic_at(listing: Listing) -> Arithmetic:
    """The sum as far as the files tell it, for a run without a record. `listing` is one without a filter."""
    counts: dict[str, int] = {}
    for row in listing.rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    places = {name: counts.get(name, 0) for name in ("retrying", "requeued", "dead")}
    untold = counts.get(ACCEPTED, 0)
    stale = (f"{untold} in the outbox or in Kafka, the files do not tell",) if untold else ()
    delivered = listing.seen - sum(places.values()) - untold
    return Arithmetic.balanced(listing.seen, delivered, places, stale=stale)


def story_at(
    lives: Lives, run_dir: Path, transaction_id: str, moment_s: float, details_of: DetailsOf = lambda _: None
) -> Timeline:
    """The story of one transaction until `moment_s`. Raises UnknownTransactionError."""
    life = lives.by_id.get(transaction_id)
    row = row_at(life, moment_s, details_of) if life is not None else None
    if life is None or row is None:
        raise UnknownTransactionError(f"no payment of this run has the id {transaction_id} at this moment")
    attempts = [each for each in life.attempts if each.ended_at_s <= moment_s]
    events = [TimelineEvent(at_s, kind, "client", what) for at_s, kind, what in life.sends]
    events += pipeline_events(row, attempts, redeliveries=_asked_until(life, moment_s))
    events += [ledger_event(asdict(each)) for each in life.deliveries]
    notes = list(lives.notes)
    until_s = moment_s
    if row.delivered_at_s is not None and not life.redeliveries:
        until_s = min(moment_s, row.delivered_at_s)
    events += fault_events(run_dir / FAULTS, row.accepted_at_s, until_s, notes)
    events = [event for event in events if event.at_s <= moment_s]
    events.sort(key=lambda event: (event.at_s, ORDER.index(event.kind)))
    return Timeline(transaction_id, row, tuple(with_gaps(events)), tuple(notes))


def _asked_until(life: Life, moment_s: float) -> list[Redelivery]:
    """Its redeliveries as they were known at `moment_s`."""
    known = []
    for each in life.redeliveries:
        asked = each
        if asked.published_at_s is not None and asked.published_at_s > moment_s:
            asked = replace(asked, published_at_s=None, published_by=None, partition=None, offset=None)
        if asked.ended_at_s is not None and asked.ended_at_s > moment_s:
            asked = replace(asked, ended_at_s=None, ended_as=None)
        known += [asked] if asked.asked_at_s <= moment_s else []
    return known


def find_at(lives: Lives, text: str, moment_s: float, details_of: DetailsOf = lambda _: None) -> TransactionRow:
    """The transaction whose id begins with `text`.

    Raises:
        ValueError: not the beginning of an id.
        UnknownTransactionError, AmbiguousIdError: none or several fit.
    """
    digits = text.strip().lower().replace("-", "")
    if len(digits) < MIN_PREFIX_CHARS:
        raise ValueError(f"give at least the first {MIN_PREFIX_CHARS} digits of the id")
    rows = [
        row
        for transaction_id, life in lives.by_id.items()
        if transaction_id.replace("-", "").startswith(digits) and (row := row_at(life, moment_s, details_of))
    ]
    if not rows:
        raise UnknownTransactionError(f"no payment of this run has an id that begins with {digits} at this moment")
    if len(rows) > 1:
        ids = [row.transaction_id for row in rows]
        raise AmbiguousIdError(f"{digits} fits several: {', '.join(ids[:5])}", ids)
    return rows[0]
