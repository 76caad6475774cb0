"""The topic as evidence: where its partitions begin and end, what is committed, which record lies at an offset.

Only reads. The consumer has a group id of its own, is given its partitions by hand and commits nothing: the
dispatcher's group never hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from control_room.stack.runtime import Endpoints
from control_room.tracking.kafka_view import hush_client, listening
from control_room.tracking.parts import SourceError
from control_room.verify.coverage import Coverage
from services.common.group_offsets import GroupOffsets
from services.common.kafka import ROUND_HEADER, make_admin, make_consumer

OWN_GROUP: Final = "bruce-control-evidence"
ANSWER_TIMEOUT_S: Final = 5.0
READ_BUDGET_S: Final = 20.0
"""How long records may be read, all told: some 100,000 of them on two busy cores."""
MAX_READ: Final = 200_000
"""Records read at most in search of unfinished ones: more than a dispatcher ever holds, less than a dead merchant's
backlog may be."""
BLOCK: Final = 1_000
"""Offsets read at a time: about what one answer of a broker holds."""
_BATCH: Final = 500
_POLL_S: Final = 0.1
_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """One partition at one moment."""

    number: int
    start: int
    """The oldest offset that retention has left."""
    end: int
    """The next offset, as far as every in-sync replica has come."""
    committed: int | None
    """By the dispatcher's group; None where it never did."""
    metadata: str
    """Of that commit: the bitmap."""
    replicas: int
    in_sync: int

    @property
    def coverage(self) -> Coverage:
        """What the commit stands for."""
        return Coverage(self.committed, self.metadata)

    def record(self) -> dict[str, Any]:
        """The line of crosscheck.jsonl."""
        return {
            "k": "partition",
            "partition": self.number,
            "start": self.start,
            "end": self.end,
            "committed": self.committed,
            "metadata": self.metadata,
            "replicas": self.replicas,
            "in_sync": self.in_sync,
        }


Partitions = Mapping[int, PartitionLog]


@dataclass(slots=True)
class OpenRecords:
    """Records of a run's ids that no commit covers: still to be delivered, or delivered and not committed yet."""

    by_id: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    """Partition, offset and round of each."""
    records: int = 0
    complete: bool = True
    """False: not every uncovered record was read."""


class KafkaLog:
    """Reads one topic. Not for several threads; every method raises SourceError where Kafka does not tell."""

    def __init__(self, endpoints: Endpoints, *, budget_s: float = READ_BUDGET_S, topic_patience_s: float = 0.0) -> None:
        """For `budget_s` records are read, all told; a topic that is not there may be made for `topic_patience_s`."""
        self._topic = endpoints.kafka_topic
        self._group = endpoints.kafka_group
        self._bootstrap = endpoints.kafka_bootstrap
        self._settings = endpoints.kafka_settings()
        self._left_s = budget_s
        self._topic_patience_s = topic_patience_s
        self._admin: AdminClient | None = None
        self._commits = GroupOffsets(self._settings, "control-room-evidence", self._group)
        self._consumer: Consumer | None = None

    def topic_id(self) -> str:
        """The id that the topic got when it was made: a topic made anew has another one."""
        return str(self._description().topic_id)

    def look(self) -> dict[int, PartitionLog]:
        """Every partition now; what is committed is asked first, so that no end is older than a commit."""
        description = self._description()
        numbers = [partition.id for partition in description.partitions]
        with _telling("what the dispatcher's group has committed"):
            commits = {each.partition: each for each in self._commits.read(numbers, ANSWER_TIMEOUT_S)}
        starts = self._offsets(numbers, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # theirs
        ends = self._offsets(numbers, OffsetSpec.latest())  # type: ignore[no-untyped-call] # theirs
        found = {}
        for partition in description.partitions:
            commit = commits.get(partition.id)
            known = commit is not None and commit.offset >= 0
            found[partition.id] = PartitionLog(
                partition.id,
                starts[partition.id],
                ends[partition.id],
                commit.offset if commit is not None and known else None,
                (commit.metadata or "") if commit is not None and known else "",
                len(partition.replicas),
                len(partition.isr),
            )
        return found

    def open_records(self, partitions: Partitions, wanted: Container[str]) -> OpenRecords:
        """The records of `wanted` ids at offsets that no commit covers."""
        found, left = OpenRecords(), MAX_READ
        for number, partition in partitions.items():
            coverage = partition.coverage
            begin = max(partition.start, coverage.base)
            if coverage.is_whole(begin, partition.end):
                continue
            end = min(partition.end, begin + left)
            left -= end - begin
            reached = begin
            for message in self._read(number, begin, end):
                offset = _offset(message)
                reached = offset + 1
                key = _key(message)
                if key in wanted and not coverage.covers(offset):
                    found.records += 1
                    found.by_id.setdefault(key, []).append((number, offset, _round(message)))
            found.complete &= end == partition.end and coverage.is_whole(reached, end)
        return found

    def keys(self, number: int, offsets: Sequence[int]) -> Iterator[tuple[int, str | None]]:
        """Each of these offsets with the key that lies there, None where nothing does; unread ones are left out."""
        for block in _blocks(sorted(offsets)):
            keys: dict[int, str] = {}
            last = -1
            for message in self._read(number, block[0], block[-1] + 1):
                last = _offset(message)
                keys[last] = _key(message)
            for offset in block:
                # One that was never reached says nothing; one that the stream passed without showing it is not there.
                if offset <= last:
                    yield offset, keys.get(offset)

    def close(self) -> None:
        """Closes the connections."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def __enter__(self) -> KafkaLog:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes it."""
        self.close()

    def _read(self, number: int, begin: int, end: int) -> Iterator[Message]:
        """The records in [begin, end) as far as the budget goes."""
        if begin >= end or self._left_s <= 0:
            return
        began_s = time.monotonic()
        consumer = self._reader()
        consumer.assign([TopicPartition(self._topic, number, begin)])
        try:
            while time.monotonic() - began_s < self._left_s:
                for message in consumer.consume(_BATCH, _POLL_S):
                    error = message.error()
                    if error is None:
                        if _offset(message) >= end:
                            return
                        yield message
                        if _offset(message) == end - 1:
                            return
                    elif error.code() in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
                        return
        finally:
            consumer.unassign()
            self._left_s -= time.monotonic() - began_s

    def _description(self) -> Any:
        if not listening(self._bootstrap):
            raise SourceError("no broker answers: none of the ports listens")
        until_s = time.monotonic() + self._topic_patience_s
        with _telling(f"what the topic {self._topic} is"):
            while True:
                # A description that waits for a broker takes up to a whole core, a request for metadata nothing.
                self._client().list_topics(self._topic, timeout=ANSWER_TIMEOUT_S)
                asked = self._client().describe_topics(TopicCollection([self._topic]), request_timeout=ANSWER_TIMEOUT_S)
                try:
                    return asked[self._topic].result(ANSWER_TIMEOUT_S)
                except KafkaException as error:
                    unknown = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
                    if not unknown or time.monotonic() >= until_s:
                        raise
                time.sleep(_AGAIN_S)  # Kafka tells nobody that a topic was made: it has to be asked again

    def _offsets(self, numbers: Sequence[int], spec: OffsetSpec) -> dict[int, int]:
        with _telling("where the partitions begin and end"):
            wanted = {TopicPartition(self._topic, number): spec for number in numbers}
            asked = self._client().list_offsets(wanted, request_timeout=ANSWER_TIMEOUT_S)
            return {place.partition: future.result(ANSWER_TIMEOUT_S).offset for place, future in asked.items()}

    def _client(self) -> AdminClient:
        if self._admin is None:
            hush_client()
            self._admin = make_admin(self._settings, "control-room-evidence")
        return self._admin

    def _reader(self) -> Consumer:
        if self._consumer is None:
            hush_client()
            self._consumer = make_consumer(
                self._settings,
                "control-room-evidence",
                group_id=OWN_GROUP,
                auto_offset_reset="error",
                enable_partition_eof=True,
                queued_max_messages_kbytes=16 * 1024,
            )
        return self._consumer


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turns a Kafka error inside the block into a SourceError that names what Kafka did not tell."""
    try:
        yield
    except KafkaException as error:
        raise SourceError(f"Kafka does not tell {what}: {error.args[0].str()}") from error
    except FutureTimeout as error:
        raise SourceError(f"Kafka does not tell {what} in time") from error


def _blocks(offsets: Sequence[int]) -> Iterator[list[int]]:
    """`offsets`, which are in order, in pieces that are read in one go each; the newest piece first."""
    pieces: list[list[int]] = []
    for offset in offsets:
        if pieces and offset - pieces[-1][-1] < BLOCK and offset - pieces[-1][0] < 20 * BLOCK:
            pieces[-1].append(offset)
        else:
            pieces.append([offset])
    return reversed(pieces)


def _offset(message: Message) -> int:
    """Only a message that was never in Kafka lacks it, but the client's types cannot say so."""
    offset = message.offset()
    return -1 if offset is None else offset


def _key(message: Message) -> str:
    """The transaction id that the record is of; empty where it has none."""
    key = message.key()
    if isinstance(key, bytes):
        return key.decode("ascii", "replace").lower()
    return (key or "").lower()


def _round(message: Message) -> int:
    try:
        headers: Any = message.headers() or []
    except (SystemError, UnicodeError):
        return 1  # a header's name that is not UTF-8: none of ours
    for name, text in headers:
        if name == ROUND_HEADER and text is not None and text.isdigit() and len(text) < 10:
            return int(text)
    return 1
