"""Commits: which offset and bitmap go to Kafka, and when. Used by the consumer thread alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.dispatcher.assignments import Assignments
from services.dispatcher.metrics import COMMITS

log = logging.getLogger(__name__)
LOST_AFTER_S: Final = 10.0
"""A commit whose report has not come by then is given up; the next one covers it."""
_OK = COMMITS.labels("ok")
_FAILED = COMMITS.labels("failed")


class Committer:
    """Commits what changed, one commit under way at a time."""

    def __init__(self, topic: str, topic_id: str, assignments: Assignments, interval_s: float) -> None:
        self._topic = topic
        self._topic_id = topic_id
        self._assignments = assignments
        self._interval_s = interval_s
        self._next_s = 0.0
        self._sent_s: float | None = None
        self._sent: dict[int, int] = {}
        self.confirmed: dict[int, int] = {}
        """The offset of the last confirmed commit, by partition. Replaced, never changed: other threads read it."""

    def assigned(self) -> None:
        """The assignment changed: `confirmed` shows what is known of the partitions that are ours now."""
        known = {partition: assignment.tracker.base for partition, assignment in self._assignments.items()}
        self.confirmed = {
            partition: self.confirmed.get(partition, base) for partition, base in known.items() if base is not None
        }

    def commit_if_due(self, consumer: Consumer, now_s: float) -> None:
        """Sends a commit where something changed, the interval is over and none is under way."""
        if self._sent_s is not None and now_s - self._sent_s > LOST_AFTER_S:
            self._forget_sent()
        if now_s < self._next_s or self._sent_s is not None:
            return
        offsets = self._changed(self._assignments)
        if not offsets:
            return
        self._next_s = now_s + self._interval_s
        self._send(consumer, offsets, now_s)

    def commit_now(self, consumer: Consumer, partitions: Iterable[Any]) -> None:
        """Commits `partitions` before they are given up, waiting for the answer.

        Failure policy: open. What is not committed is delivered again by whoever gets the partition.
        """
        offsets = self._changed([entry.partition for entry in partitions])
        if not offsets:
            return
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
            _OK.inc()
        except KafkaException as error:
            _FAILED.inc()
            log.warning("offsets were not committed before the revoke: %s", error)

    def commit_until(self, consumer: Consumer, by_s: float) -> None:
        """Commits all that changed and waits for the report, no longer than `by_s` on the monotonic clock."""
        while (now_s := time.monotonic()) < by_s:
            if self._sent_s is None:
                offsets = self._changed(self._assignments)
                if not offsets:
                    return
                self._send(consumer, offsets, now_s)
            consumer.poll(0.02)
        log.warning("the last commit was not confirmed in time: what it covers is delivered again")

    def reported(self, error: KafkaError | None, partitions: list[Any]) -> None:
        """The client's report on a commit; called inside poll, in the consumer thread."""
        fault = error or next((entry.error for entry in partitions if entry.error is not None), None)
        if fault is not None:
            _FAILED.inc()
            log.warning("offsets were not committed, the next commit covers them: %s", fault)
            self._forget_sent()
            return
        _OK.inc()
        self.confirmed = {**self.confirmed, **{entry.partition: entry.offset for entry in partitions}}
        self._sent_s = None

    def _send(self, consumer: Consumer, offsets: list[Any], now_s: float) -> None:
        self._sent_s = now_s
        live = self._assignments.live
        self._sent = {entry.partition: live[entry.partition] for entry in offsets}
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.warning("offsets were not committed, the next commit covers them: %s", error)
            self._forget_sent()

    def _changed(self, partitions: Iterable[int]) -> list[Any]:
        offsets = []
        for partition in partitions:
            assignment = self._assignments.get(partition)
            if assignment is None or not assignment.dirty:
                continue
            base = assignment.tracker.base
            if base is None:
                continue
            assignment.dirty = False
            offsets.append(TopicPartition(self._topic, partition, base, assignment.tracker.metadata(self._topic_id)))
        return offsets

    def _forget_sent(self) -> None:
        """What was under way counts as not committed."""
        self._sent_s = None
        for partition, epoch in self._sent.items():
            assignment = self._assignments.get(partition)
            if assignment is not None and assignment.epoch == epoch:
                assignment.dirty = True
