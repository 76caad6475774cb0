"""Where an event that did not arrive was last seen: store by store, and the command that shows it. Explains, excuses
nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from control_room.verify.crosscheck import CrossCheck
from control_room.verify.history import History
from control_room.verify.stores import StoreLine


def trail(
    transaction_id: str,
    history: History,
    line: StoreLine | None,
    crosscheck: CrossCheck | None,
    last_attempt: str | None,
) -> str:
    """The way of one id through payments, outbox, topic, attempts and ledger, as far as each is known.

    Args:
        transaction_id: which one.
        history: what the client and the ledger say of it.
        line: what Postgres said; None where it did not.
        crosscheck: what Kafka said; None where it was not asked.
        last_attempt: the last attempt that the dispatcher recorded, in words; None where it recorded none.
    """
    if line is None:
        steps = ["Postgres did not tell of it"]
    elif not line.payment:
        steps = ["payments: no row"]
    else:
        steps = [f"payments: stored at {clock(line.accepted_at)}", f"outbox: {_outbox(line)}"]
        topic = _topic(line, crosscheck)
        if topic:
            steps.append(f"topic: {topic}")
    steps.append(last_attempt or "attempts: none recorded")
    answers = f"{history.answers}, no 2xx" if history.answers else "no line"
    steps.append(f"ledger: {'a 2xx, with other bytes' if history.first_arrival else answers}")
    return f"{'; '.join(steps)}; see it: bruce-control event {transaction_id}"


def clock(at: float) -> str:
    """A Unix time as `2026-11-25 13:59:30.064 UTC`; `?` where it is none."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
    except (OverflowError, ValueError, OSError):
        return "?"


def _outbox(line: StoreLine) -> str:
    if line.outbox != "published":
        return "no row" if line.outbox == "missing" else line.outbox
    return "published" if line.offset is None else f"published to {line.partition}@{line.offset}"


def _topic(line: StoreLine, crosscheck: CrossCheck | None) -> str:
    """What Kafka says of the record that the outbox names; empty where it names none, or Kafka said nothing."""
    if line.outbox != "published" or line.partition is None or line.offset is None or crosscheck is None:
        return ""
    partition = crosscheck.partitions.get(line.partition)
    if partition is None:
        return ""
    if line.offset >= partition.end:
        return f"the partition ends at {partition.end}, before that record"
    if line.offset < partition.start:
        return f"older than retention: the partition begins at {partition.start}"
    covered = "counts it as finished" if partition.coverage.covers(line.offset) else "leaves it open"
    return f"within the partition, and the dispatcher's commit {covered}"
