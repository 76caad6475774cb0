"""The consumer thread: the only one that touches the Kafka consumer.

It polls, pauses, resumes, seeks and commits; it owns the trackers, so completions and rebalances can never overtake
each other. The loop hears of batches, not messages; what it finishes comes back through `complete`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from services.common import crash
from services.common.catch_up import CatchUp
from services.common.kafka import is_fatal
from services.dispatcher.assignments import Assignments
from services.dispatcher.cluster import ClusterWatch
from services.dispatcher.flow import Flow
from services.dispatcher.intake import Intake
from services.dispatcher.metrics import GAPS, SKIPPED
from services.dispatcher.offsets import Committer
from services.dispatcher.record import Headers, Position, Record, Unreadable, read_record
from services.dispatcher.watchdog import Watchdog

log = logging.getLogger(__name__)
BATCH: Final = 500
POLL_S: Final = 0.2
"""How long a poll waits for the first record: also how late a commit or a resume may be."""
IDLE_POLL_S: Final = 0.05
DRY_STEP_S: Final = 0.005
HAND_OVER_GAP_S: Final = 0.003
"""Rest after a hand-over: at most some 300 wake-ups of the loop per second, however the records trickle in."""
FINAL_COMMIT_S: Final = 3.0
HAND_OVER_S: Final = 1.0
"""So long the group waits for what is under way in partitions that are revoked: many times a request of a merchant that
is well and the batch of outcomes after it, and short beside the time-out of one that hangs."""
WAITED_MS: Final = 5000
"""A payment that was accepted so long ago has waited, and goes on at the pace of what catches up."""
WAITED_BATCH: Final = 100
"""Of such payments the loop gets so many at once: 500 keep the processors busy for 50 ms, and what is accepted
meanwhile waits for them."""


class Sink(Protocol):
    """What the consumer thread tells the loop. Every method may be called from the thread and must not wait."""

    def records(self, records: list[Record | Unreadable]) -> None:
        """New records, in the order of their partitions."""

    def assigned(self, epochs: frozenset[int], partitions: tuple[int, ...]) -> None:
        """The assignment changed: only these epochs live on, with these partitions."""

    def revoking(self, epochs: frozenset[int], partitions: tuple[int, ...], then: Callable[[], None]) -> None:
        """As `assigned`, in advance; `then` when what is under way of the others has ended and is recorded."""

    def fatal(self, sentence: str) -> None:
        """The process must end, non-zero, saying this."""

    def left(self) -> None:
        """The consumer is closed."""


class Source:
    """Runs the consumer in a thread of its own."""

    def __init__(
        self,
        make: Callable[[Callable[[KafkaError], None], Callable[..., None]], Consumer],
        topic: str,
        intake: Intake,
        sink: Sink,
        *,
        max_window: int,
        commit_interval_s: float,
        watchdog: Watchdog,
        cluster: ClusterWatch,
        catch_up: CatchUp,
    ) -> None:
        """`make` makes the consumer, given its error callback and its commit callback."""
        self._make = make
        self._topic = topic
        self._intake = intake
        self._sink = sink
        self._watchdog = watchdog
        self._cluster = cluster
        self._catch_up = catch_up
        self._batch = BATCH
        self._assignments = Assignments(topic, cluster.topic_id)
        self._commits = Committer(topic, cluster.topic_id, self._assignments, commit_interval_s)
        self._flow = Flow(topic, self._assignments, intake, max_window)
        self._completed: deque[list[Position]] = deque()
        self._finish_by_s: float | None = None
        self._complained_s = float("-inf")
        self.rounds = 0
        """Counts while the thread goes round. Other threads read it."""
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)

    @property
    def committed(self) -> dict[int, int]:
        """The committed offset of each partition, where it is known."""
        return dict(self._commits.confirmed)

    @property
    def lag(self) -> dict[int, int]:
        """The newest offset minus the committed one, by partition, a second old at most."""
        return dict(self._watchdog.lag)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def complete(self, positions: list[Position]) -> None:
        """Loop: these records are finished and recorded."""
        self._completed.append(positions)

    def finish(self, timeout_s: float) -> None:
        """Loop: settle, commit within `timeout_s`, close; `Sink.left` follows."""
        self._finish_by_s = time.monotonic() + timeout_s

    def _run(self) -> None:
        try:
            consumer = self._make(self._erred, self._commits.reported)
            consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while self._finish_by_s is None:
                self._turn(consumer)
            self._leave(consumer, self._finish_by_s)
        except Exception as error:
            # A consumer thread that dies in silence is days of silence.
            log.debug("consumer thread ended", exc_info=error)
            self._sink.fatal(f"the Kafka consumer failed: {type(error).__name__}: {error}")

    def _turn(self, consumer: Consumer) -> None:
        self.rounds += 1
        now_s = time.monotonic()
        self._settle()
        self._commits.commit_if_due(consumer, now_s)
        room = self._flow.apply(consumer, now_s)
        messages = self._fetch(consumer, room)
        if messages:
            self._hand_over(consumer, messages)
        stuck = self._watchdog.look(consumer, self._assignments, self._flow, time.monotonic())
        anew = self._cluster.look(time.monotonic())
        if stuck or anew:
            self._sink.fatal(stuck or anew or "")

    def _settle(self) -> None:
        while self._completed:
            self._assignments.complete(self._completed.popleft())

    def _fetch(self, consumer: Consumer, room: int) -> list[Message]:
        if room <= 0:
            if not self._flow.all_paused:
                # Dry for a moment: waiting is cheaper than a pause, which throws away what was fetched ahead.
                time.sleep(DRY_STEP_S)
                return []
            message = consumer.poll(IDLE_POLL_S)
            return [message] if message is not None else []
        if rest_s := self._catch_up.rest_s:
            # Not a poll: that takes a record, and nothing but the pace's next moment ends a rest. A commit, a rebalance
            # or the end is no later for it than in a poll that finds nothing.
            time.sleep(min(rest_s, POLL_S))
            return []
        message = consumer.poll(POLL_S)
        if message is None:
            return []
        if room == 1:
            return [message]
        changes = self._assignments.changes
        rest = consumer.consume(min(room, self._batch) - 1, 0)
        if self._assignments.changes != changes:
            # A rebalance ran among these: which message belongs to which assignment is anybody's guess. Read again.
            # Errors belong to the client, and come once: a fatal one that is dropped leaves a consumer without an end.
            self._assignments.seek_all(consumer)
            return [one for one in (message, *rest) if one.error() is not None]
        return [message, *rest]

    def _hand_over(self, consumer: Consumer, messages: Iterable[Message]) -> None:
        batch: list[Record | Unreadable] = []
        size_bytes = waited = 0
        now_ms = int(time.time() * 1000)
        broken: set[int] = set()
        for message in messages:
            error = message.error()
            if error is not None:
                self._erred(error)
                continue
            position = self._accept(consumer, message, broken)
            if position is None:
                continue
            record = _read(message, position, now_ms)
            batch.append(record)
            size_bytes += record.size_bytes
            waited += isinstance(record, Record) and now_ms - record.first_seen_ms >= WAITED_MS
        self._watchdog.progress()
        if batch:
            self._intake.hand_over(len(batch), size_bytes)
            self._sink.records(batch)
            self._catch_up.went(waited)
            self._batch = WAITED_BATCH if 2 * waited > len(batch) else BATCH
            time.sleep(HAND_OVER_GAP_S)

    def _accept(self, consumer: Consumer, message: Message, broken: set[int]) -> Position | None:
        """The place of a message that is to be delivered; None where it is somebody else's, complete, or read again.

        `broken` holds the partitions of which the rest of the batch is read again.
        """
        partition, offset = _place(message)
        assignment = self._assignments.get(partition)
        if assignment is None or partition in broken:
            return None
        if not assignment.continues(offset):
            # A gap is believed only when a second read shows it too; a client's slip must not become a loss.
            broken.add(partition)
            self._assignments.seek(consumer, partition)
            return None
        if assignment.gap_confirmed(offset):
            GAPS.inc()
            log.warning("offsets do not exist partition=%d next=%d", partition, offset)
        elif assignment.tracker.is_behind(offset):
            log.warning("the log begins anew partition=%d next=%d: all of it is delivered", partition, offset)
            assignment = self._assignments.restart(partition, offset)
            self._changed()
        if not assignment.tracker.add(offset):
            SKIPPED.inc()
            return None
        return Position(partition, offset, assignment.epoch)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        crash.point("dispatcher.in-rebalance")
        self._assignments.assign(consumer, partitions, self._leaves)
        self._flow.forget()
        self._changed()

    def _leaves(self) -> bool:
        """Asked again and again by a wait for Kafka that lasts: such a wait is no standstill."""
        self.rounds += 1
        return self._finish_by_s is not None

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._finish_by_s is None:  # in the end the drain has done it
            self._end_what_is_under_way({entry.partition for entry in partitions})
        self._settle()
        crash.point("dispatcher.in-rebalance")
        self._commits.commit_now(consumer, partitions)
        self._on_lost(consumer, partitions)

    def _end_what_is_under_way(self, revoked: set[int]) -> None:
        """Waits for requests in partitions that are given up, or their new owner makes them again.

        Failure policy: open. What takes longer is delivered twice; the group is not held up by a merchant that hangs.
        """
        live = {number: epoch for number, epoch in self._assignments.live.items() if number not in revoked}
        ended = threading.Event()
        self._sink.revoking(frozenset(live.values()), tuple(sorted(live)), ended.set)
        if not ended.wait(HAND_OVER_S):
            log.warning("partitions %s are given up with work under way: it is done again", sorted(revoked))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del consumer
        self._assignments.remove(partitions)
        self._flow.forget()
        self._changed()

    def _changed(self) -> None:
        self._commits.assigned()
        live = self._assignments.live
        log.info("partitions assigned: %s", sorted(live) or "none")
        self._sink.assigned(frozenset(live.values()), tuple(sorted(live)))

    def _erred(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._sink.fatal(f"Kafka refuses this consumer for good: {error.str()} ({error.name()})")
            return
        now_s = time.monotonic()
        if now_s - self._complained_s > 10:
            self._complained_s = now_s
            log.warning("Kafka: %s (%s)", error.str(), error.name())

    def _leave(self, consumer: Consumer, by_s: float) -> None:
        self._settle()
        self._flow.pause_all(consumer)
        self._commits.commit_until(consumer, min(by_s, time.monotonic() + FINAL_COMMIT_S))
        try:
            consumer.close()
        except KafkaException as error:
            log.warning("the consumer did not close in order: %s", error)
        self._sink.left()


def _place(message: Message) -> tuple[int, int]:
    """Partition and offset: only a message that was never in Kafka lacks them, but the client's types cannot say so."""
    return cast("tuple[int, int]", (message.partition(), message.offset()))


def _read(message: Message, position: Position, now_ms: int) -> Record | Unreadable:
    """The record in `message`. Headers that were consumed are pairs of text and bytes, whatever a producer may pass."""
    try:
        headers = cast("Headers", message.headers() or [])
    except (SystemError, UnicodeError):
        # What the client makes of a header's name that is not UTF-8. None of ours, and no reason not to deliver.
        headers = []
    return read_record(position, message.key(), message.value(), headers, message.timestamp()[1], now_ms)
