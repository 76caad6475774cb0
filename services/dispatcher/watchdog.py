"""The watchdog: lag, nothing in the way, and yet no progress. Says so, and at last ends the process.

Before it ends anything it asks Kafka: brokers that do not answer explain the standstill, and are waited for.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from services.dispatcher.assignments import Assignments
from services.dispatcher.flow import Flow
from services.dispatcher.intake import Intake
from services.dispatcher.metrics import STALLS

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 1.0
QUERY_EVERY_S: Final = 5.0
"""While partitions are paused the client fetches nothing and knows no newer end: Kafka is asked this often."""
QUERY_TIMEOUT_S: Final = 0.5
PROOF_TIMEOUT_S: Final = 5.0


class Watchdog:
    """Watches lag and progress, in the consumer thread."""

    def __init__(self, topic: str, intake: Intake, stall_exit_s: float) -> None:
        self._topic = topic
        self._intake = intake
        self._stall_exit_s = stall_exit_s
        self._next_look_s = self._next_query_s = 0.0
        self._progress_s = time.monotonic()
        self._warned = False
        self._released = 0
        self.lag: dict[int, int] = {}
        """Newest offset minus committed offset. Replaced, never changed: other threads read it."""

    def progress(self) -> None:
        """Records came."""
        self._progress_s = time.monotonic()
        self._warned = False

    def look(self, consumer: Consumer, assignments: Assignments, flow: Flow, now_s: float) -> str | None:
        """Once a second: refreshes `lag`; a sentence where the process had better be started anew."""
        if now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_EVERY_S
        ask = bool(flow.paused) and now_s >= self._next_query_s
        if ask:
            self._next_query_s = now_s + QUERY_EVERY_S
        unread = self._measure(consumer, assignments, ask)
        held = self._intake.held
        # A closed intake (pause, Postgres away, drain) is a reason to stand still; a full house is none for ever.
        released = self._intake.released
        if not self._intake.open or not unread or released != self._released:
            self._released = released
            self.progress()
            return None
        idle_s = now_s - self._progress_s
        if idle_s > self._stall_exit_s / 4 and not self._warned:
            self._warned = True
            STALLS.inc()
            log.warning("records wait in Kafka and nothing moved for %.0fs held=%d partitions=%s", idle_s, held, unread)
        if idle_s <= self._stall_exit_s:
            return None
        if not self._kafka_answers(consumer, unread):
            self.progress()
            return None
        return f"records wait in Kafka (partitions {unread}), Kafka answers, and nothing moved for {idle_s:.0f} seconds"

    def _measure(self, consumer: Consumer, assignments: Assignments, ask: bool) -> list[int]:
        """Refreshes `lag`; the partitions that have records which were not taken yet."""
        lag, unread = {}, []
        for partition in assignments:
            assignment = assignments.get(partition)
            high = self._high(consumer, partition, ask)
            if assignment is None or high is None or high < 0:
                continue
            base, expected = assignment.tracker.base, assignment.tracker.next_offset
            lag[partition] = max(0, high - base) if base is not None else high
            if high > (expected or 0):
                unread.append(partition)
        self.lag = lag
        return unread

    def _high(self, consumer: Consumer, partition: int, ask: bool) -> int | None:
        entry = TopicPartition(self._topic, partition)
        try:
            if ask:
                answer = consumer.get_watermark_offsets(entry, timeout=QUERY_TIMEOUT_S)
            else:
                answer = consumer.get_watermark_offsets(entry, cached=True)
        except KafkaException:
            return None
        return int(answer[1]) if answer else None

    def _kafka_answers(self, consumer: Consumer, partitions: list[int]) -> bool:
        try:
            entry = TopicPartition(self._topic, partitions[0])
            return consumer.get_watermark_offsets(entry, timeout=PROOF_TIMEOUT_S) is not None
        except KafkaException:
            return False
