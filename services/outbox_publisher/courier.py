"""The way to Kafka and back: claimed rows go out in bursts, one partition each; reports say what became of each row.

Knows nothing of Postgres. Not for several threads: callbacks run inside `poll`.

A producer belongs to one cluster, whose id was read before anything was sent with it. Whatever it reports goes by that
id, also where the brokers are others by then; and it is not used for the new ones: the producer ids of two clusters
collide, and a broker that takes a record for a repeat, its own or another producer's, acknowledges what it does not
keep. Brokers that were all away at once may be others, so a producer does not outlive that either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from services.common.kafka import REDELIVERY_HEADER, cluster_id_of, is_fatal, offset_of
from services.common.lanes import Lanes
from services.common.outbox import Report
from services.common.redeliveries import Due, Redelivered
from services.outbox_publisher import metrics
from services.outbox_publisher.leases import Claimed

log = logging.getLogger(__name__)
_ASK_TIMEOUT_S: Final = 1.0
_ASK_BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 5.0)
"""Between two questions to a Kafka that is away. The last is repeated."""
_PURGE_S: Final = 1.0
"""For the reports of what was purged: they come at once."""


class ProducerFatalError(RuntimeError):
    """The producer cannot go on; only a new process can. The message has librdkafka's reason."""


class Courier:
    """One producer, the lanes it uses, and what came back since the last look."""

    def __init__(
        self, make_producer: Callable[[Callable[[KafkaError], None]], Producer], topic: str, lanes: Lanes
    ) -> None:
        self._topic = topic
        self._lanes = lanes
        self._acknowledged: list[Report] = []
        self._failed: list[str] = []
        self._redelivered: list[Redelivered] = []
        self._failed_redeliveries: list[int] = []
        self._fatal: KafkaError | None = None
        self._down = False
        self._asked_in_vain = 0
        self._ask_at_s = 0.0
        self._used = False
        """Whether the producer was given anything."""
        self._outlived = False
        """Whether it was, and all brokers have been away since: they may come back as another cluster."""
        self._make_producer = make_producer
        self._producer = make_producer(self._on_error)
        self.cluster_id = ""
        """The cluster that the producer belongs to; empty: not known yet, and nothing is sent."""

    def belong_to(self, cluster_id: str) -> None:
        """The cluster that answers. Where it is another one than before, what is on its way counts as failed."""
        if self.cluster_id and cluster_id != self.cluster_id:
            self._new_producer()
            self._asked_in_vain, self._ask_at_s = 0, 0.0
        self.cluster_id = cluster_id

    def _new_producer(self) -> None:
        self._producer.purge()
        self._flushed(_PURGE_S)
        self._lanes.forget()
        self._used = self._outlived = False
        self._producer = self._make_producer(self._on_error)
        self._fatal = None  # of the producer that is gone

    @property
    def in_flight(self) -> int:
        """Rows given to the producer and not reported yet."""
        return self._lanes.in_flight

    @property
    def open(self) -> bool:
        """Whether some partition is known to take records."""
        return self._lanes.open

    def room(self, now_s: float) -> tuple[int, int | None] | None:
        """Partition for the next burst and how many rows it takes (None: any number); None: not now.

        Not before it is known which cluster answers.

        While no partition is open a broker is asked first, at growing intervals: rows are claimed only when one
        answers, and then one row as a probe.
        """
        if not self.cluster_id or (not self._lanes.open and not self._broker_answers(now_s)):
            return None
        return self._lanes.pick(now_s)

    def nothing_waits(self) -> None:
        """A broker answers and no row is due: there is nothing to probe with, and nothing to fear."""
        if not self._lanes.open:
            self._lanes.reopen()
            self._say(True, "")

    def send(self, rows: Sequence[Claimed | Due], partition: int) -> None:
        """Gives `rows` to the producer; what it does not take counts as failed.

        Raises:
            ProducerFatalError: see there.
        """
        self._used = True
        self._lanes.sent(partition, len(rows), time.monotonic())
        for sent, row in enumerate(rows):
            # A redelivery's time is when it was asked for: with that of an old payment retention would take it at once.
            at_ms, number = (row.asked_at_ms, row.number) if isinstance(row, Due) else (row.accepted_at_ms, None)
            try:
                self._producer.produce(
                    self._topic,
                    value=row.canonical,
                    key=row.transaction_id,
                    partition=partition,
                    timestamp=at_ms,
                    headers=[] if number is None else [(REDELIVERY_HEADER, b"%d" % number)],
                    on_delivery=partial(self._on_delivery, self.cluster_id, number),
                )
            except (BufferError, KafkaException) as error:
                self._lanes.unsent(partition, len(rows) - sent)
                for left in rows[sent:]:
                    self._fail(left.transaction_id, left.number if isinstance(left, Due) else None)
                if isinstance(error, KafkaException):
                    self._on_error(error.args[0])
                break
        metrics.IN_FLIGHT.set(self.in_flight)
        self._raise_fatal()

    def poll(self, timeout_s: float) -> None:
        """Serves reports, waiting up to `timeout_s` for the first. Raises ProducerFatalError."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:  # how the client tells of a fatal error, instead of its callback
            self._on_error(error.args[0])
        if self._outlived:
            self._new_producer()
            self._lanes.all_down(time.monotonic())  # whatever the old one still reported: the next one asks first
        metrics.IN_FLIGHT.set(self.in_flight)
        self._raise_fatal()

    def flush(self, timeout_s: float) -> None:
        """Waits for what is on its way, up to `timeout_s`; what is still open then counts as failed."""
        if not self._flushed(timeout_s):
            self._producer.purge()
            self._flushed(_PURGE_S)

    def _flushed(self, timeout_s: float) -> bool:
        """Whether nothing is on its way any more."""
        try:
            return not self._producer.flush(timeout_s)
        except KafkaException as error:  # as in `poll`
            self._on_error(error.args[0])
            return False

    def take(self) -> tuple[list[Report], list[str]]:
        """What was acknowledged, and the ids of what failed, since the last call."""
        acknowledged, self._acknowledged = self._acknowledged, []
        failed, self._failed = self._failed, []
        return acknowledged, failed

    def take_redeliveries(self) -> tuple[list[Redelivered], list[int]]:
        """Likewise of redeliveries, by their numbers."""
        acknowledged, self._redelivered = self._redelivered, []
        failed, self._failed_redeliveries = self._failed_redeliveries, []
        return acknowledged, failed

    def _fail(self, transaction_id: str, redelivery: int | None) -> None:
        if redelivery is None:
            self._failed.append(transaction_id)
        else:
            self._failed_redeliveries.append(redelivery)

    def _on_delivery(self, cluster_id: str, redelivery: int | None, error: KafkaError | None, message: Message) -> None:
        partition, key = message.partition(), message.key()
        transaction_id = key.decode() if isinstance(key, bytes) else str(key)
        ok = error is None
        offset = offset_of(error, message)
        if partition is not None and partition >= 0:
            self._lanes.reported(partition, ok=ok, now_s=time.monotonic())
        if offset is None:
            self._fail(transaction_id, redelivery)
        elif redelivery is None:
            self._acknowledged.append(Report(transaction_id, partition or 0, offset, time.time(), cluster_id))
        else:
            self._redelivered.append(Redelivered(redelivery, partition or 0, offset, time.time()))
        if not ok or self._down:
            self._say(self._lanes.open, str(error))

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._fatal = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._outlived = self._used
            self._lanes.all_down(time.monotonic())
            self._say(False, str(error))

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise ProducerFatalError(str(self._fatal))

    def _broker_answers(self, now_s: float) -> bool:
        if now_s < self._ask_at_s:
            return False
        try:
            found = self._producer.list_topics(self._topic, timeout=_ASK_TIMEOUT_S)
            known = found.topics[self._topic]
            same = cluster_id_of(found) == self.cluster_id  # else `belong_to` follows
            answers = same and known.error is None and any(part.leader >= 0 for part in known.partitions.values())
        except KafkaException:
            answers = False
        self._asked_in_vain = 0 if answers else self._asked_in_vain + 1
        pause_s = 0.0 if answers else _ASK_BACKOFF_S[min(self._asked_in_vain, len(_ASK_BACKOFF_S)) - 1]
        self._ask_at_s = time.monotonic() + pause_s
        return answers

    def _say(self, answers: bool, reason: str) -> None:
        """Says once that Kafka is away, once that it is back."""
        if answers and self._down:
            log.info("Kafka answers again: publishing goes on")
        elif not answers and not self._down:
            log.warning("Kafka does not answer: rows stay in the outbox reason=%s", reason)
        self._down = not answers
