"""Which partitions are paused: reconciled against what should be, every turn of the consumer thread.

The client keeps a partition's pause over revoke and assign, and a pause inside the rebalance callback drops its offset;
so nothing here is done in callbacks, and after every change all partitions are set anew, whatever was thought of them.
"""

from __future__ import annotations

import logging
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from services.dispatcher.assignments import Assignments
from services.dispatcher.intake import Intake

log = logging.getLogger(__name__)
DRY_S: Final = 0.5
"""So long without room before partitions are paused and polled: a pause throws away what was fetched ahead."""
WINDOW_HYSTERESIS: Final = 0.9


class Flow:
    """Pauses and resumes partitions as room, pause and windows ask."""

    def __init__(self, topic: str, assignments: Assignments, intake: Intake, max_window: int) -> None:
        self._topic = topic
        self._assignments = assignments
        self._intake = intake
        self._max_window = max_window
        self._paused: set[int] | None = None
        self._dry_since_s: float | None = None

    @property
    def all_paused(self) -> bool:
        """Whether no partition is being read (also where none is assigned)."""
        return len(self._paused or ()) == len(self._assignments)

    @property
    def paused(self) -> frozenset[int]:
        """The partitions that are paused."""
        return frozenset(self._paused or ())

    def forget(self) -> None:
        """The assignment changed: nothing is known of any partition's pause."""
        self._paused = None

    def apply(self, consumer: Consumer, now_s: float) -> int:
        """Brings every partition into the state it should have; how many records may be taken."""
        room = self._intake.room()
        if room > 0:
            self._dry_since_s = None
        elif self._dry_since_s is None:
            self._dry_since_s = now_s
        stop_all = room <= 0 and (not self._intake.open or now_s - (self._dry_since_s or now_s) >= DRY_S)
        keep_all = room <= 0 and not stop_all
        wish = set()
        for partition in self._assignments:
            paused = partition in (self._paused or ())
            if stop_all or self._window_full(partition, paused) or (keep_all and paused):
                wish.add(partition)
        self._reach(consumer, wish)
        return room

    def pause_all(self, consumer: Consumer) -> None:
        """Pauses everything: nothing more will be taken."""
        self._reach(consumer, set(self._assignments))

    def _window_full(self, partition: int, paused: bool) -> bool:
        assignment = self._assignments.get(partition)
        limit = self._max_window * (WINDOW_HYSTERESIS if paused else 1)
        return assignment is not None and assignment.tracker.span >= limit

    def _reach(self, consumer: Consumer, wish: set[int]) -> None:
        everything = set(self._assignments)
        known = self._paused
        pause = wish if known is None else wish - known
        resume = everything - wish if known is None else (known & everything) - wish
        try:
            if pause:
                consumer.pause([TopicPartition(self._topic, partition) for partition in pause])
            if resume:
                consumer.resume([TopicPartition(self._topic, partition) for partition in resume])
        except KafkaException as error:
            # The assignment is changing under our hands; the next turn sets everything anew.
            log.debug("pause state not set: %s", error)
            self._paused = None
            return
        self._paused = wish
