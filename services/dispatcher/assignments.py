"""What the consumer thread knows of each partition it was given: an epoch, a tracker, and where the stream stands.

Every assignment of a partition has an epoch of its own. A completion that carries another epoch belongs to an
assignment that was revoked or lost; it is dropped, or it would commit somebody else's partition.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from services.common import bitmap
from services.common.kafka import is_fatal
from services.dispatcher.metrics import STALE
from services.dispatcher.record import Position
from services.dispatcher.tracker import OffsetTracker

log = logging.getLogger(__name__)
COMMITTED_TIMEOUT_S: Final = 5.0
RETRY_S: Final = 0.5


class Assignment:
    """One partition during one assignment."""

    __slots__ = ("_doubted", "dirty", "epoch", "tracker")

    def __init__(self, epoch: int, tracker: OffsetTracker) -> None:
        self.epoch = epoch
        self.tracker = tracker
        self.dirty = False
        """Something was completed since the last commit."""
        self._doubted: int | None = None

    def continues(self, offset: int) -> bool:
        """Whether `offset` may be taken as the stream's next.

        False where offsets are missing before it and that was seen for the first time: read again from the one that was
        expected. The second time the gap is believed.
        """
        expected = self.tracker.next_offset
        if expected is None or offset <= expected or self._doubted == expected:
            return True
        self._doubted = expected
        return False

    def gap_confirmed(self, offset: int) -> bool:
        """Whether `offset` comes after a gap that a second read has shown."""
        expected = self.tracker.next_offset
        return expected is not None and offset > expected


class Assignments:
    """The partitions of this member. Used by the consumer thread alone."""

    def __init__(self, topic: str, topic_id: str) -> None:
        self._topic = topic
        self._topic_id = topic_id
        self._by_partition: dict[int, Assignment] = {}
        self._epoch = 0
        self.changes = 0
        """How often the assignment changed."""

    @property
    def live(self) -> dict[int, int]:
        """Each partition's epoch."""
        return {partition: assignment.epoch for partition, assignment in self._by_partition.items()}

    def __iter__(self) -> Iterator[int]:
        """The partitions' numbers; they may change meanwhile."""
        return iter(tuple(self._by_partition))

    def items(self) -> list[tuple[int, Assignment]]:
        """Each partition and its assignment."""
        return list(self._by_partition.items())

    def __len__(self) -> int:
        """How many partitions this member has."""
        return len(self._by_partition)

    def get(self, partition: int) -> Assignment | None:
        """The partition's assignment; None where it is not ours."""
        return self._by_partition.get(partition)

    def assign(self, consumer: Consumer, partitions: Sequence[Any], cancelled: Callable[[], bool]) -> None:
        """Takes `partitions` inside the rebalance callback, each from its committed offset and bitmap.

        Offset and bitmap come from one answer, and reading starts exactly there: nothing between the two can differ.
        A commit on a topic that was deleted and made again since says nothing: all of the new one is read.
        Waits for Kafka's answer as long as it takes (heartbeats go on in the client's own thread).
        """
        self.changes += 1
        numbers = [entry.partition for entry in partitions]
        committed = self._committed(consumer, numbers, cancelled) if numbers else []
        starts = []
        for entry in committed:
            self._epoch += 1
            known = entry.offset >= 0 and bitmap.topic_id_in(entry.metadata) in ("", self._topic_id)
            if entry.offset >= 0 and not known:
                log.warning("the topic was made anew: partition=%d is read from its beginning", entry.partition)
            tracker = OffsetTracker(entry.offset, entry.metadata) if known else OffsetTracker()
            self._by_partition[entry.partition] = Assignment(self._epoch, tracker)
            start = entry.offset if known else OFFSET_BEGINNING
            starts.append(TopicPartition(self._topic, entry.partition, start))
        consumer.incremental_assign(starts)

    def remove(self, partitions: Iterable[Any]) -> None:
        """Forgets partitions that were revoked or lost."""
        self.changes += 1
        for entry in partitions:
            self._by_partition.pop(entry.partition, None)

    def restart(self, partition: int, offset: int) -> Assignment:
        """The partition's stream went back to `offset`, below all that is known: another log has taken its place.

        What is known of the offsets from there on, and every completion that is still to come, was about the old one.
        """
        self._epoch += 1
        assignment = self._by_partition[partition] = Assignment(self._epoch, OffsetTracker(offset))
        return assignment

    def complete(self, positions: Iterable[Position]) -> None:
        """Completes records of live assignments; the others are dropped and counted."""
        for partition, offset, epoch in positions:
            assignment = self._by_partition.get(partition)
            if assignment is None or assignment.epoch != epoch:
                STALE.inc()
                continue
            assignment.tracker.complete(offset)
            assignment.dirty = True

    def seek(self, consumer: Consumer, partition: int) -> None:
        """Reads on from the offset that the partition's tracker expects. Raises KafkaException."""
        expected = self._by_partition[partition].tracker.next_offset
        start = OFFSET_BEGINNING if expected is None else expected
        consumer.seek(TopicPartition(self._topic, partition, start))

    def seek_all(self, consumer: Consumer) -> None:
        """`seek` for every partition."""
        for partition in self._by_partition:
            self.seek(consumer, partition)

    def _committed(self, consumer: Consumer, numbers: list[int], cancelled: Callable[[], bool]) -> list[Any]:
        """The committed offsets of `numbers`; empty where `cancelled` says that the process is leaving."""
        asked = [TopicPartition(self._topic, number) for number in numbers]
        complained = False
        while not cancelled():
            try:
                answer = consumer.committed(asked, timeout=COMMITTED_TIMEOUT_S)
                fault = next((entry.error for entry in answer if entry.error is not None), None)
                if fault is None:
                    return list(answer)
            except KafkaException as error:
                fault = error.args[0]
                if is_fatal(fault):
                    raise
            if not complained:
                complained = True
                log.warning("the committed offsets cannot be read yet, trying again: %s", fault)
            time.sleep(RETRY_S)
        return []
