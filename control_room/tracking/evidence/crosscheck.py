"""crosscheck.jsonl: whether Postgres and Kafka agree about a run's ids at the end of its drain.

What is compared, and in which order: docs/verdict.md, "The four stores". Only disagreements are written, with their
ids, beside the figures that say how much was looked at; what each of them means is decided by `control_room.verify`.

Failure policy: open, and never silent. A source that does not answer costs its part of the comparison; the file says
which and why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence.kafka_claims import Witness
from control_room.tracking.evidence.kafka_log import KafkaLog, OpenRecords, Partitions
from control_room.tracking.evidence.stores_sql import CHUNK_IDS, Place, StoreReader, compare_tables
from control_room.tracking.parts import SourceError
from control_room.verify.durable import whole_file
from control_room.verify.files import CROSSCHECK
from services.common.chain import ChainWriter

MAX_LOOKED_UP: Final = 100_000
"""Published rows whose records are read back: some 10 s of reading. Of more ids an even sample is taken."""
SAMPLE_IDS: Final = 1_000
"""Ids that are sampled together: ids sent together lie together in Kafka, and are read in one go."""
SHOWN: Final = 1_000
"""Lines per kind of disagreement; the figures count the rest."""
SETTLE_S: Final = 5.0
"""How long the last commits, and an end that only some replicas have reached, may take to show."""
_PAUSE_S: Final = 0.25

Lines = Iterator[dict[str, Any]]


@dataclass(slots=True)
class CrossCheck:
    """The comparison of one run's stores, made step by step while its evidence is gathered."""

    log: KafkaLog
    topic_before: str | None
    """The topic's id when the run began; None where nobody knows."""
    gaps: list[str] = field(default_factory=list)
    """Why something could not be compared, in sentences without a full stop."""
    topic: str | None = None
    """The topic's id; None where Kafka did not tell."""
    witness: Witness | None = None
    """What Kafka said; None where it did not."""
    postgres: bool = True
    """Whether Postgres told all that it was asked."""
    asked: bool = False
    """Whether Kafka was asked."""

    @property
    def made_anew(self) -> bool:
        """Whether the topic is another one than when the run began: then what Postgres says of places in it is past."""
        return None not in (self.topic_before, self.topic) and self.topic_before != self.topic

    def ask_kafka(self, ids: Collection[str]) -> None:
        """Notes what Kafka says now, after the last commits had a moment to come."""
        self.asked = True
        try:
            self.topic = self.log.topic_id()
            partitions = _settled(self.log)
            self.witness = Witness(partitions, self.log.open_records(partitions, ids))
        except SourceError as error:
            self.gaps.append(str(error))

    def write(self, endpoints: Endpoints, stores: StoreReader, run_dir: Path, ids: Sequence[str]) -> None:
        """Compares and writes crosscheck.jsonl; `ids` are those that the pipeline may have taken, in order of sending.

        Raises:
            OSError: the folder cannot be written to.
        """
        writer = ChainWriter()
        with whole_file(run_dir / CROSSCHECK) as file:
            for record in self._lines(endpoints, stores, ids):
                file.write(writer.line(record))

    def _lines(self, endpoints: Endpoints, stores: StoreReader, ids: Sequence[str]) -> Lines:
        yield from self._part(lambda: _table_lines(endpoints))
        marked = Marked()
        if self.witness is not None:
            yield from self._part(lambda: self._marked_lines(stores, ids, marked))
            yield from self._open_lines(self.witness.open)
        yield {
            "k": "sources",
            "at": round(time.time(), 6),
            "postgres": self.postgres,
            "kafka": self.witness is not None,
            "topic": self.topic,
            "ids": len(ids),
            "marked": marked.record(),
            "open": self.witness.open.records if self.witness else 0,
            "open_complete": self.witness is not None and self.witness.open.complete,
            "why": self.gaps,
        }

    def _part(self, compare: Callable[[], Lines]) -> Lines:
        """The lines of one comparison, as far as its sources tell."""
        try:
            yield from compare()
        except SourceError as error:
            self.postgres &= "Postgres" not in str(error)
            self.gaps.append(str(error))

    def _marked_lines(self, stores: StoreReader, ids: Sequence[str], marked: Marked) -> Lines:
        """The partitions, and the published rows that do not find their record in the topic."""
        places, marked.every = _sampled(stores, ids)
        marked.rows = len(places)
        partitions = self._beyond_settled(places)
        for partition in partitions.values():
            yield partition.record()
        wanted: dict[int, dict[int, list[Place]]] = {}
        for place in places:
            number, offset = place.partition, place.offset
            if number is None or offset is None or number not in partitions:
                marked.unplaced += 1
            elif offset < partitions[number].start:
                marked.older += 1
            elif offset >= partitions[number].end:
                marked.beyond += 1
                yield from marked.disagree(place, "beyond")
            else:
                wanted.setdefault(number, {}).setdefault(offset, []).append(place)
        for number, offsets in wanted.items():
            for offset, key in self.log.keys(number, list(offsets)):
                for place in offsets[offset]:
                    yield from marked.compare(place, key)

    def _beyond_settled(self, places: Sequence[Place]) -> Partitions:
        """The partitions, once no row lies beyond an end that is still rising."""
        until_s = time.monotonic() + SETTLE_S
        while True:
            partitions = self.log.look()
            beyond = any(
                place.offset is not None and place.partition in partitions
                and place.offset >= partitions[place.partition].end
                for place in places
            )  # fmt: skip
            if not beyond or time.monotonic() >= until_s:
                return partitions
            time.sleep(_PAUSE_S)

    @staticmethod
    def _open_lines(found: OpenRecords) -> Lines:
        shown = 0
        for id_, records in found.by_id.items():
            for number, offset, round_ in records:
                shown += 1
                if shown > SHOWN:
                    return
                yield {"k": "open", "id": id_, "partition": number, "offset": offset, "round": round_}


@dataclass(slots=True)
class Marked:
    """Figures on published rows that were looked up in Kafka."""

    rows: int = 0
    """Published rows that were to be looked up."""
    read: int = 0
    """Of these, the ones whose offset was read."""
    older: int = 0
    """Older than retention."""
    unplaced: int = 0
    """Without a place: the producer learned that its record is in Kafka, and not where (none, or 0, is recorded)."""
    beyond: int = 0
    """Beyond the end of their partition."""
    wrong: int = 0
    every: int = 1
    """1: all ids were asked about; N: a sample of every Nth thousand."""

    def compare(self, place: Place, key: str | None) -> Lines:
        """Counts a row whose offset was read, and has the line of one that does not find its record there."""
        if place.offset == 0 and key not in (None, place.transaction_id):
            self.unplaced += 1
            return
        self.read += 1
        if key != place.transaction_id:
            yield from self.disagree(place, "absent" if key is None else "other", key)

    def disagree(self, place: Place, found: str, key: str | None = None) -> Lines:
        """The line of one row whose record is not where it says, the first SHOWN of them."""
        self.wrong += 1
        if self.wrong <= SHOWN:
            id_, number, offset, at = place
            where = {"partition": number, "offset": offset, "at": at}
            yield {"k": "marked", "id": id_, **where, "found": found, "key": key}

    def record(self) -> dict[str, int]:
        """For the last line."""
        names = ("rows", "read", "older", "unplaced", "beyond", "wrong", "every")
        return {name: getattr(self, name) for name in names}


def _settled(log: KafkaLog) -> Partitions:
    """The partitions once commits cover all there is, or after SETTLE_S."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        partitions = log.look()
        covered = all(one.coverage.is_whole(one.start, one.end) for one in partitions.values())
        if covered or time.monotonic() >= until_s:
            return partitions
        time.sleep(_PAUSE_S)


def _sampled(stores: StoreReader, ids: Sequence[str]) -> tuple[list[Place], int]:
    """The places of the published rows among `ids`: of all, or of every Nth thousand, the last one always."""
    every = max(1, -(-len(ids) // MAX_LOOKED_UP))
    chosen: list[str] = []
    for end in range(len(ids), 0, -SAMPLE_IDS * every):
        chosen += ids[max(0, end - SAMPLE_IDS) : end]
    places: list[Place] = []
    for begin in range(0, len(chosen), CHUNK_IDS):
        places += stores.places(chosen[begin : begin + CHUNK_IDS])
    return places, every


def _table_lines(endpoints: Endpoints) -> Lines:
    tables = compare_tables(endpoints.postgres_conninfo, SHOWN)
    yield {"k": "tables", "payments": tables.payments, "outbox": tables.outbox}
    for id_, lacking in tables.torn:
        yield {"k": "torn", "id": id_, "lacks": lacking}
    for id_, after_s in tables.passed_over:
        yield {"k": "passed-over", "id": id_, "after_s": after_s}
