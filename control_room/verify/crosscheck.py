"""Whether the four stores agree at the end of a run: crosscheck.jsonl, judged.

Ledger and operation log alone prove that nothing was lost. This adds what they cannot show: that it was no luck. A
state that no kill, cut or restart can bring about, by the pipeline's own protocol, is a violation although every event
arrived; a state that a fault does bring about is a note. None of it excuses anything. The reasons, kind by kind:
docs/verdict.md, "The four stores".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control_room.verify.chained import Record, records, shaped
from control_room.verify.coverage import Coverage
from control_room.verify.faults import Fault
from control_room.verify.files import CROSSCHECK
from control_room.verify.history import Histories
from control_room.verify.stores import StoreLine

IDS_TOLD: Final = 20
"""Ids kept per disagreement; crosscheck.jsonl has more."""
_IDS_IN_WORDS: Final = 3
GIVEN_UP: Final = frozenset({"skipped", "vanished", "nowhere"})
"""States of stores.jsonl in which Kafka contradicts Postgres: recorded as open, and nobody will deliver it."""


@dataclass(frozen=True, slots=True)
class PartitionLine:
    """One partition of the topic when the evidence was gathered."""

    start: int
    end: int
    coverage: Coverage
    in_full_sync: bool
    """Whether every replica has all of it; else a leader elected a moment ago may know too low an end."""


@dataclass(frozen=True, slots=True)
class WrongMark:
    """A published row that does not find its record where it says."""

    transaction_id: str
    partition: int
    offset: int
    published_at: float
    found: str
    """`other`: another id's record lies there; `absent`: none does; `beyond`: the partition ends before."""
    key: str


@dataclass(slots=True)
class CrossCheck:
    """What was compared, and what disagreed."""

    ended: bool = False
    """Whether the file has its last line: what is not disagreed about was compared as far as the figures say."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The last line."""
    tables: tuple[int, int] | None = None
    """Rows of payments and of outbox_events; None where Postgres did not tell."""
    torn: dict[str, str] = field(default_factory=dict)
    """Ids in one of the two tables alone, with the table that lacks them."""
    passed_over: list[str] = field(default_factory=list)
    """Ids that pend in the outbox although a publisher has published later ones since."""
    partitions: dict[int, PartitionLine] = field(default_factory=dict)
    wrong: list[WrongMark] = field(default_factory=list)
    open: list[tuple[str, int, int]] = field(default_factory=list)
    """Id, partition and offset of records that no commit covers."""

    @property
    def topic(self) -> str | None:
        """The topic's id; None where Kafka did not tell."""
        return self.figures.get("topic")


def read_crosscheck(run_dir: Path) -> CrossCheck | None:
    """The comparison; None where the run has none. Raises EvidenceError where the file is damaged."""
    if not (run_dir / CROSSCHECK).exists():
        return None
    found = CrossCheck()
    with shaped(CROSSCHECK):
        for record in records(run_dir / CROSSCHECK):
            found.ended = record["k"] == "sources"
            _take(found, record)
    return found


def _take(found: CrossCheck, record: Record) -> None:
    kind = record["k"]
    if kind == "tables":
        found.tables = int(record["payments"]), int(record["outbox"])
    elif kind == "torn":
        found.torn[record["id"].lower()] = str(record["lacks"])
    elif kind == "passed-over":
        found.passed_over.append(record["id"].lower())
    elif kind == "partition":
        found.partitions[int(record["partition"])] = PartitionLine(
            int(record["start"]),
            int(record["end"]),
            Coverage(record["committed"], record["metadata"]),
            record["in_sync"] >= record["replicas"],
        )
    elif kind == "marked":
        place = int(record["partition"]), int(record["offset"])
        found.wrong.append(
            WrongMark(
                record["id"].lower(), *place, float(record["at"]), str(record["found"]), str(record.get("key") or "")
            )
        )
    elif kind == "open":
        found.open.append((record["id"].lower(), int(record["partition"]), int(record["offset"])))
    elif kind == "sources":
        found.figures = {**record, "marked": {name: int(count) for name, count in record["marked"].items()}}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One way in which the stores contradict each other."""

    kind: str
    count: int
    ids: tuple[str, ...]
    """The first of them."""
    violation: bool
    words: str

    @property
    def sentence(self) -> str:
        """For reasons and notes."""
        shown = ", ".join(self.ids[:_IDS_IN_WORDS])
        more = f" and {self.count - _IDS_IN_WORDS} more" if self.count > _IDS_IN_WORDS else ""
        return f"Stores disagree, {self.kind}: {self.count} {self.words}: {shown}{more}."

    def to_json(self) -> dict[str, Any]:
        """For verdict.json."""
        return {
            "kind": self.kind,
            "count": self.count,
            "violation": self.violation,
            "what": self.words,
            "ids": list(self.ids),
        }


def disagreements(
    found: CrossCheck,
    histories: Histories,
    stores: Mapping[str, StoreLine],
    run: Mapping[str, Any],
    faults: Sequence[Fault],
) -> list[Disagreement]:
    """Every disagreement, the violations first.

    Args:
        found: crosscheck.jsonl.
        histories: the ids that the run's client sent.
        stores: the lines of stores.jsonl.
        run: run.json, for the topic's id and the moment at which the run began.
        faults: the run's faults.
    """
    every = [
        _disagreement("torn", [id_ for id_ in found.torn if id_ in histories], True, _TORN),
        _disagreement("given-up", _given_up(histories, stores), True, _GIVEN_UP_WORDS),
        _passed_over(found, histories, _is_same_topic(found, run) and not any(fault.hits("kafka") for fault in faults)),
        *_marks(found, run),
        _disagreement("torn-elsewhere", [id_ for id_ in found.torn if id_ not in histories], False, _TORN_ELSEWHERE),
        _disagreement("uncommitted", _uncommitted(found, histories), False, _UNCOMMITTED),
    ]
    return [one for one in every if one.count]


_TORN: Final = (
    "ids stand in only one of payments and outbox_events, which are written in one transaction: what published them "
    "was luck"
)
_TORN_ELSEWHERE: Final = "ids that this run did not send stand in only one of payments and outbox_events"
_GIVEN_UP_WORDS: Final = (
    "ids are recorded as still to be delivered, but no record in Kafka that the dispatcher's commits leave open is "
    "theirs"
)
_PASSED_OVER: Final = (
    "ids wait in the outbox although the publisher, which takes the oldest first, took much later ones"
)
_UNCOMMITTED: Final = (
    "ids have arrived, but a record of theirs is not covered by the dispatcher's commits: it may be delivered again"
)
_FALSE_MARK: Final = (
    "published rows name a place in Kafka where their record is not: they were marked without a report, or Kafka lost "
    "what it had acknowledged"
)
_OLD_MARK: Final = (
    "published rows name a place in a topic that is not there any more: it was made anew since, or may have been, "
    "for they are older than this run or it does not know with which topic it began"
)
_UNSETTLED_MARK: Final = (
    "published rows lie beyond the end of a partition that has not all of its replicas: its end may rise again"
)


def _disagreement(kind: str, ids: list[str], violation: bool, words: str) -> Disagreement:
    return Disagreement(kind, len(ids), tuple(ids[:IDS_TOLD]), violation, words)


def _given_up(histories: Histories, stores: Mapping[str, StoreLine]) -> list[str]:
    return [id_ for id_, line in stores.items() if line.state in GIVEN_UP and _is_missing(id_, histories)]


def _passed_over(found: CrossCheck, histories: Histories, calm: bool) -> Disagreement:
    """A violation only where Kafka was whole all the time: else a publisher may have failed on these rows alone."""
    ids = [id_ for id_ in found.passed_over if _is_missing(id_, histories)]
    whole = calm and bool(found.partitions) and all(partition.in_full_sync for partition in found.partitions.values())
    return _disagreement("passed-over", ids, whole, _PASSED_OVER)


def _is_missing(id_: str, histories: Histories) -> bool:
    """Whether the pipeline may have taken it, and it did not arrive."""
    history = histories.get(id_)
    if history is None or history.first_arrival is not None:
        return False
    return history.acknowledged or history.unanswered


def _uncommitted(found: CrossCheck, histories: Histories) -> list[str]:
    ids = dict.fromkeys(id_ for id_, *_ in found.open)
    return [id_ for id_ in ids if (history := histories.get(id_)) is not None and history.first_arrival is not None]


def _is_same_topic(found: CrossCheck, run: Mapping[str, Any]) -> bool:
    return found.topic is not None and run.get("topic_id") == found.topic


def _marks(found: CrossCheck, run: Mapping[str, Any]) -> list[Disagreement]:
    """The wrong marks: false ones, ones of an earlier Kafka, ones that may yet come true."""
    same_topic = _is_same_topic(found, run)
    began_at = float(run.get("started_at") or 0.0)
    false, old, unsettled = [], [], []
    for mark in found.wrong:
        partition = found.partitions.get(mark.partition)
        if not same_topic or mark.published_at < began_at:
            old.append(mark.transaction_id)
        elif mark.found == "beyond" and (partition is None or not partition.in_full_sync):
            unsettled.append(mark.transaction_id)
        else:
            false.append(mark.transaction_id)
    return [
        _disagreement("false-mark", false, True, _FALSE_MARK),
        _disagreement("old-mark", old, False, _OLD_MARK),
        _disagreement("unsettled-mark", unsettled, False, _UNSETTLED_MARK),
    ]


def agreement(found: CrossCheck) -> str:
    """What was compared, as a line: shown whether it agreed or not."""
    parts = []
    if found.tables is not None:
        payments, outbox = found.tables
        parts.append(f"{payments} payments {'=' if payments == outbox else 'but'} {outbox} outbox rows")
    if found.figures.get("kafka"):
        marked = found.figures["marked"]
        right = marked["read"] + marked["beyond"] - marked["wrong"]
        older = f", {marked['older']} older than retention" if marked["older"] else ""
        parts.append(f"{right} of {marked['rows']} published rows found where they say{older}")
        left = found.figures["open"]
        words = f"{left} records of this run" if left else "no record of this run"
        parts.append(f"{words} left open by the dispatcher's commits")
    return "; ".join(parts)


def shortcomings(found: CrossCheck | None) -> list[str]:
    """What was not compared, in sentences: a comparison that was not made must not look like one that agreed."""
    if found is None:
        return ["The four stores were not compared: this run has no crosscheck.jsonl."]
    if not found.ended:
        return ["The comparison of the four stores was not finished."]
    marked = found.figures["marked"]
    sentences = [f"The stores were not compared in full: {reason}." for reason in found.figures["why"]]
    if marked["every"] > 1:
        sentences.append(
            f"Of {found.figures['ids']} ids a sample, {marked['rows']} published rows, was looked up in Kafka."
        )
    unread = marked["rows"] - marked["read"] - marked["older"] - marked["unplaced"] - marked["beyond"]
    if unread > 0:
        sentences.append(f"{unread} of {marked['rows']} published rows were not looked up in Kafka: time ran out.")
    if marked["unplaced"]:
        sentences.append(f"{marked['unplaced']} published rows do not say where in Kafka they lie.")
    if found.figures["kafka"] and not found.figures["open_complete"]:
        sentences.append("Not every record that the dispatcher's commits leave open was read.")
    return sentences
