"""The whole story of one transaction: accepted, published, every attempt and wait, re-queues, the merchant's ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from control_room.stack.runtime import Endpoints, Runtime, StackSettingsError
from control_room.tracking import transactions_sql as sql
from control_room.tracking.ledger_search import find_in_ledger
from control_room.tracking.parts import SourceError, first_line
from control_room.tracking.pipeline import connect
from control_room.tracking.text import amount_text
from control_room.tracking.transactions import TransactionRow, UnknownTransactionError, find_transaction
from control_room.tracking.webhook import Webhook, webhook_of
from services.common.chain import ChainError, read_chain
from services.common.signing import Secrets

_ANSWER_WORDS: Final = {0: "connection reset", -1: "held back until the caller gave up"}
"""What the ledger's statuses that are not HTTP's mean."""
ORDER: Final = (
    "sent",
    "answered",
    "accepted",
    "published",
    "attempt",
    "ledger",
    "delivered",
    "requeued",
    "dead",
    "redelivery",
    "fault",
    "waiting",
)
"""Among events of one instant, cause stands before effect."""


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened to the transaction."""

    at_s: float
    """Unix time."""
    kind: str
    """One of `accepted published attempt requeued delivered dead redelivery ledger fault waiting`; from the files of a
    run also `sent` and `answered`, the client's side."""
    who: str
    """The member that did it."""
    what: str
    """What happened, in words."""
    gap_ms: float | None = None
    """Since the event of the pipeline before it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same as figures."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The story of one transaction."""

    transaction_id: str
    row: TransactionRow | None
    """As it stands; None where Postgres did not tell."""
    events: tuple[TimelineEvent, ...]
    notes: tuple[str, ...]
    """What could not be read, or only in part, in sentences."""
    webhook: Webhook | None = None
    """What the merchant gets; None where Postgres did not tell, and for a run that is over."""

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "transaction_id": self.transaction_id,
            "transaction": self.row and self.row.to_json(),
            "events": [asdict(event) for event in self.events],
            "notes": list(self.notes),
            "webhook": self.webhook and self.webhook.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request as the dispatcher recorded it."""

    started_at_s: float
    round: int
    attempt: int
    duration_ms: float
    status: int | None
    error: str | None
    dispatcher: str
    partition: int
    offset: int
    next_due_at_s: float | None
    redelivery: int | None = None
    """The number of the redelivery that it belongs to."""

    @property
    def ended_at_s(self) -> float:
        """When its answer came, or its deadline passed."""
        return self.started_at_s + self.duration_ms / 1000


@dataclass(frozen=True, slots=True)
class Redelivery:
    """One that an operator asked for. Times are Unix seconds."""

    number: int
    asked_at_s: float
    reason: str
    state_before: str
    published_at_s: float | None
    published_by: str | None
    partition: int | None
    offset: int | None
    ended_at_s: float | None
    ended_as: str | None


@dataclass(frozen=True, slots=True)
class _Records:
    """What Postgres holds beside the row."""

    attempts: list[Attempt]
    redeliveries: list[Redelivery]
    claim: tuple[str | None, float | None]
    """Who holds the outbox row, until when."""
    body: bytes


def secrets_of(runtime: Runtime) -> Secrets | None:
    """What the stack signs with; None where its configuration does not say: signatures are then not shown."""
    try:
        return Secrets.parse(runtime.secret())
    except StackSettingsError:
        return None


def timeline(
    endpoints: Endpoints, transaction_id: str, journal: Path | None = None, secrets: Secrets | None = None
) -> Timeline:
    """The story of `transaction_id` (an id in full, or a unique beginning of one while Postgres answers).

    Args:
        endpoints: where Postgres and the merchant answer.
        transaction_id: which one.
        journal: a fault journal; faults that fell into the story are told with it.
        secrets: what the stack signs with, to show the signatures of what was sent.

    Raises:
        UnknownTransactionError, AmbiguousIdError, ValueError: as `find_transaction`.

    Failure policy: open. Without Postgres the ledger still tells its lines, and without the merchant Postgres its
    records; what is missing stands in `notes`.
    """
    notes: list[str] = []
    row: TransactionRow | None = None
    found = _Records([], [], (None, None), b"")
    events: list[TimelineEvent] = []
    try:
        row = find_transaction(endpoints.postgres_conninfo, transaction_id)
        transaction_id = row.transaction_id
        found = _records(endpoints.postgres_conninfo, transaction_id)
        events = pipeline_events(row, found.attempts, found.claim, found.redeliveries)
    except SourceError as error:
        notes.append(f"Postgres tells nothing: {error}")
    end_s = _end_s(row, found)
    ledger = _ledger_events(endpoints.merchant_url, transaction_id, row, found.attempts, end_s, notes)
    events += ledger
    if journal is not None and events:
        events += fault_events(journal, min(event.at_s for event in events), end_s, notes)
    events.sort(key=lambda event: (event.at_s, ORDER.index(event.kind)))
    webhook = None
    if found.body:
        facts = [event.facts for event in ledger]
        webhook = webhook_of(endpoints.webhook_url, transaction_id, found.body, found.attempts, facts, secrets)
    return Timeline(transaction_id, row, tuple(with_gaps(events)), tuple(notes), webhook)


def _records(conninfo: str, transaction_id: str) -> _Records:
    try:
        with connect(conninfo) as connection:
            with connection.cursor(row_factory=dict_row) as cursor:
                attempts = [Attempt(**row) for row in cursor.execute(sql.ATTEMPTS, [transaction_id]).fetchall()]
                again = [Redelivery(**row) for row in cursor.execute(sql.REDELIVERIES, [transaction_id]).fetchall()]
            claim = connection.execute(sql.CLAIM, [transaction_id]).fetchone() or (None, None)
            body = connection.execute(sql.BODY, [transaction_id]).fetchone() or (b"",)
    except psycopg.Error as error:
        raise SourceError(first_line(error)) from error
    return _Records(attempts, again, (claim[0], claim[1]), bytes(body[0]))


def pipeline_events(
    row: TransactionRow,
    attempts: Sequence[Attempt],
    claim: tuple[str | None, float | None] = (None, None),
    redeliveries: Sequence[Redelivery] = (),
) -> list[TimelineEvent]:
    """What Postgres' records say, in no particular order. `claim`: who holds the outbox row, until when."""
    now_s = row.accepted_at_s + row.age_s
    events = [_accepted(row)]
    for each in redeliveries:
        events += _redelivery(each, now_s, any(attempt.redelivery == each.number for attempt in attempts))
    if row.published_at_s is not None:
        events.append(_published(row, attempts))
    elif row.state == "outbox":
        events.append(_in_outbox(row, claim))
    for position, attempt in enumerate(attempts):
        following = attempts[position + 1] if position + 1 < len(attempts) else None
        events.append(_attempt(attempt))
        same = following is not None and following.redelivery == attempt.redelivery
        if following is not None and same and following.round > attempt.round:
            events.append(_requeued(attempt, following.round, f"p{following.partition} @{following.offset}"))
    last = attempts[-1] if attempts else None
    if row.state == "requeued" and last is not None:
        events.append(_requeued(last, last.round + 1, _due(row.next_due_at_s)))
    if row.delivered_at_s is not None:
        words = f"round {row.round}, {row.attempts_total} attempt{'s' * (row.attempts_total != 1)} in all"
        events.append(TimelineEvent(row.delivered_at_s, "delivered", last.dispatcher if last else "dispatcher", words))
    if row.state == "dead":
        at_s = last.ended_at_s if last else row.accepted_at_s
        words = f"dead-lettered: {row.last_error or 'no reason given'}"
        events.append(TimelineEvent(at_s, "dead", "dispatcher", words))
    if row.state == "in-kafka" and not any(each.ended_at_s is None for each in redeliveries):
        words = f"p{row.partition} @{row.offset}: published, not tried yet"
        events.append(TimelineEvent(now_s, "waiting", "dispatcher", words))
    return events


def _redelivery(asked: Redelivery, now_s: float, tried: bool) -> list[TimelineEvent]:
    """Its asking, its publishing, and its end or where it waits."""
    name = f"redelivery {asked.number}"
    facts = {"number": asked.number, "reason": asked.reason, "state_before": asked.state_before}
    what = f"{name} asked for{': ' * bool(asked.reason)}{asked.reason}"
    events = [TimelineEvent(asked.asked_at_s, "redelivery", "operator", what, None, facts)]
    if asked.published_at_s is not None:
        where = {"partition": asked.partition, "offset": asked.offset, "redelivery": asked.number}
        what = f"p{asked.partition} @{asked.offset}, {name}"
        events.append(TimelineEvent(asked.published_at_s, "published", asked.published_by or "?", what, None, where))
    if asked.ended_at_s is not None:
        words = "arrived" if asked.ended_as == "delivered" else "ended as a dead letter"
        end = {"number": asked.number, "ended_as": asked.ended_as}
        events.append(TimelineEvent(asked.ended_at_s, "redelivery", "dispatcher", f"{name} {words}", None, end))
    elif asked.published_at_s is None:
        events.append(TimelineEvent(now_s, "waiting", "outbox", f"{name}, for whoever publishes next"))
    else:
        words = "tried, and will be again" if tried else "published, not tried yet"
        events.append(TimelineEvent(now_s, "waiting", "dispatcher", f"{name}: {words}"))
    return events


def _accepted(row: TransactionRow) -> TimelineEvent:
    what = f"{amount_text(row.amount_inr)} {row.status}".rstrip()
    return TimelineEvent(
        row.accepted_at_s, "accepted", row.accepted_by, what, None, {"amount_inr": str(row.amount_inr)}
    )


def _published(row: TransactionRow, attempts: Sequence[Attempt]) -> TimelineEvent:
    """The outbox row is marked in batches after the delivery report: the dispatcher may have been quicker."""
    overtaken = bool(attempts) and attempts[0].started_at_s < (row.published_at_s or 0.0)
    again = f", published {row.republished} time{'s' * (row.republished != 1)} more" if row.republished else ""
    facts = {"partition": row.partition, "offset": row.offset, "republished": row.republished}
    what = f"p{row.partition} @{row.offset}{again}{', noted after the first attempt' * overtaken}"
    return TimelineEvent(row.published_at_s or 0.0, "published", row.published_by or "?", what, None, facts)


def _in_outbox(row: TransactionRow, claim: tuple[str | None, float | None]) -> TimelineEvent:
    claimed_by, claimed_until_s = claim
    now_s = row.accepted_at_s + row.age_s
    held = claimed_by is not None and claimed_until_s is not None and claimed_until_s > now_s
    what = f"in the outbox, held by {claimed_by}" if held else "in the outbox, for whoever publishes next"
    return TimelineEvent(now_s, "waiting", "outbox", what)


def _attempt(attempt: Attempt) -> TimelineEvent:
    answer = str(attempt.status) if attempt.status is not None else (attempt.error or "no answer")
    what = f"{answer} in {attempt.duration_ms:.0f} ms"
    if attempt.status is not None and attempt.error:
        what += f" ({attempt.error})"
    wait_s = None if attempt.next_due_at_s is None else max(0.0, attempt.next_due_at_s - attempt.ended_at_s)
    if wait_s is not None:
        what += f", wait {wait_s:.1f} s"
    if attempt.redelivery is not None:
        what += f", redelivery {attempt.redelivery}"
    facts = {**asdict(attempt), "wait_s": wait_s}
    return TimelineEvent(attempt.started_at_s, "attempt", attempt.dispatcher, what, None, facts)


def _requeued(last: Attempt, next_round: int, where: str) -> TimelineEvent:
    what = f"after {last.attempt} attempts, as round {next_round}{', ' * bool(where)}{where}"
    return TimelineEvent(last.ended_at_s, "requeued", last.dispatcher, what, None, {"round": next_round})


def _due(at_s: float | None) -> str:
    return "" if at_s is None else f"due in {max(0.0, at_s - time.time()):.1f} s"


def _end_s(row: TransactionRow | None, found: _Records) -> float:
    """Until when the story goes: delivered or dead, its last sign; else now."""
    signs = [attempt.ended_at_s for attempt in found.attempts]
    signs += [asked.ended_at_s or time.time() for asked in found.redeliveries]
    if row is None or row.state not in ("delivered", "dead"):
        signs.append(time.time())
    elif row.delivered_at_s is not None:
        signs.append(row.delivered_at_s)
    return max(signs, default=time.time())


def _ledger_events(
    merchant_url: str,
    transaction_id: str,
    row: TransactionRow | None,
    attempts: Sequence[Attempt],
    end_s: float,
    notes: list[str],
) -> list[TimelineEvent]:
    if row is None:
        windows = [(time.time() - 3600.0, time.time())]
        notes.append("without Postgres nobody knows when it was accepted: the ledger's last hour was searched")
    else:
        windows = [(row.accepted_at_s, end_s)]
    try:
        finding = find_in_ledger(merchant_url, transaction_id, windows)
        if not finding.complete and attempts:
            around = [(attempt.started_at_s, attempt.ended_at_s) for attempt in attempts]
            finding = replace(find_in_ledger(merchant_url, transaction_id, around), complete=False)
    except SourceError as error:
        notes.append(f"the merchant's ledger tells nothing: {error}")
        return []
    if not finding.complete:
        notes.append("the ledger is long here: only its lines around recorded attempts, or its first, were searched")
    return [ledger_event(line) for line in finding.lines]


def ledger_event(line: Mapping[str, Any]) -> TimelineEvent:
    """A line of the merchant's ledger."""
    status = line.get("status")
    answer = _ANSWER_WORDS.get(status, str(status)) if isinstance(status, int) else "?"
    signed = (
        "signatures ok"
        if line.get("hmac") == "ok" and line.get("wh") == "ok"
        else (f"signatures: hmac {line.get('hmac')}, webhook {line.get('wh')}")
    )
    again = f", redelivery {line['red']}" if line.get("red") else ""
    what = f"line {line['n']}: {answer}, {signed}{again}"
    facts = {key: line.get(key) for key in ("n", "status", "sha", "hmac", "wh", "src", "att", "by", "red")}
    return TimelineEvent(float(line["at"]), "ledger", "merchant-server", what, None, facts)


def fault_events(journal: Path, begin_s: float, end_s: float, notes: list[str]) -> list[TimelineEvent]:
    """Faults and heals of a journal between two moments (Unix); what cannot be read is said in `notes`."""
    events = []
    named: dict[int, str] = {}
    try:
        with journal.open("rb") as lines:
            for record in read_chain(lines):
                if record["k"] == "apply":
                    named[record["fault"]] = f"{record['name']} {record['target']}"
                words = f"{'heal of ' * (record['k'] == 'heal')}{named.get(record.get('fault', -1), 'a fault')}"
                if record["k"] in ("apply", "heal") and begin_s <= record["at"] <= end_s:
                    events.append(TimelineEvent(record["at"], "fault", "!", words, None, {"fault": record["fault"]}))
    except FileNotFoundError:
        pass  # no journal: no fault was ever applied
    except (OSError, ChainError) as error:
        notes.append(f"the fault journal is readable only in part: {error}")
    return events


def with_gaps(events: Sequence[TimelineEvent]) -> list[TimelineEvent]:
    """`events` with the time since the one before; the ledger's and the faults' lines are witnesses, not steps."""
    result: list[TimelineEvent] = []
    previous_s: float | None = None
    for event in events:
        if event.kind in ("ledger", "fault", "waiting"):
            result.append(event)
            continue
        result.append(event if previous_s is None else replace(event, gap_ms=(event.at_s - previous_s) * 1000))
        previous_s = event.at_s
    return result


__all__ = ["Attempt", "Timeline", "TimelineEvent", "UnknownTransactionError", "pipeline_events", "timeline"]
