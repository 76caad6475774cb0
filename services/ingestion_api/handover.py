"""After COMMIT: the group goes to Kafka in one burst, without anyone waiting for it.

A short cut, never the promise: whatever does not get through here lies in the outbox, and the publisher brings it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from services.common.kafka import cluster_id_of, is_fatal, offset_of
from services.common.lanes import PROBE_INTERVAL_S, Lanes
from services.common.outbox import Report
from services.ingestion_api import metrics
from services.ingestion_api.store import Accepted

log = logging.getLogger(__name__)
_NO_BROKER: Final = metrics.LEFT.labels("no-broker")
_QUEUE_FULL: Final = metrics.LEFT.labels("queue-full")
_NOT_ACKNOWLEDGED: Final = metrics.LEFT.labels("not-acknowledged")
_PRODUCER_ERROR: Final = metrics.LEFT.labels("producer-error")

_ASK_TIMEOUT_S: Final = 0.3
"""Only the marking thread waits for it; a broker of the same site answers within milliseconds."""

_LOOK_INTERVAL_S: Final = 5.0
"""Between two looks at which cluster answers, while all goes well."""

_UNSURE_S: Final = 2 * _LOOK_INTERVAL_S
"""Without a look for so long the process was frozen: another cluster may answer since, so it looks before it sends."""

MakeProducer = Callable[[Callable[[KafkaError], None]], Producer]
"""Makes a producer whose errors go to the given callback."""


class _Way(NamedTuple):
    """A producer and the cluster it belongs to: what it reports goes by that id, whoever answers by then.

    It never sends to another one. Producer ids of two clusters collide: where a producer of the old one sends to the
    new, a broker may take another's first record for a repeat of that, acknowledge it with an offset, and not keep it.
    """

    producer: Producer
    cluster_id: str
    """Empty: not known yet, and nothing is sent."""


class Handover:
    """The producer's side: `send` from the writer thread, `reports` from the marking thread."""

    def __init__(self, make_producer: MakeProducer, topic: str, lanes: Lanes) -> None:
        self._make_producer = make_producer
        self._topic = topic
        self._lanes = lanes
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Of whoever produces, or makes another producer: nothing is given to one that is emptied."""
        self._reported: list[tuple[_Way, KafkaError | None, Message]] = []
        self._down = False
        self._replace = False
        self._asked_s = float("-inf")
        self._awake_s = time.monotonic()
        """When the last look ended. One without an answer counts only where the process was not frozen before it."""
        self._cluster_id = ""
        """The cluster that answered last."""
        self._answered = False
        """Whether it has since the brokers were last away."""
        self._way = _Way(make_producer(self._on_error), "")

    @property
    def kafka_answers(self) -> bool:
        """Whether some partition takes records, as far as is known."""
        return self._lanes.open

    def send(self, accepted: list[Accepted]) -> None:
        """Gives the group to the producer. Never waits for Kafka, never raises.

        Failure policy: open. A row that is not sent stays pending and goes out with the publisher's next sweep.
        """
        with self._turn:
            self._send(accepted)

    def _send(self, accepted: list[Accepted]) -> None:
        way = self._way
        if self._replace or not way.cluster_id or self._was_frozen:
            _NO_BROKER.inc(len(accepted))
            return
        while accepted:
            now_s = time.monotonic()
            with self._lock:
                lane = self._lanes.pick(now_s)
                if lane is None:
                    _NO_BROKER.inc(len(accepted))
                    return
                partition, room = lane
                burst, accepted = (accepted, []) if room is None else (accepted[:room], accepted[room:])
                # Counted before they are sent: a report may come before this thread runs again.
                self._lanes.sent(partition, len(burst), now_s)
            unsent = len(burst) - self._produce(way, partition, burst)
            if unsent:
                with self._lock:
                    self._lanes.unsent(partition, unsent)

    def _produce(self, way: _Way, partition: int, burst: list[Accepted]) -> int:
        """How many records the producer took."""
        produce = way.producer.produce
        on_delivery = partial(self._on_delivery, way)
        for sent, row in enumerate(burst):
            try:
                produce(
                    self._topic,
                    value=row.canonical,
                    key=row.transaction_id,
                    partition=partition,
                    timestamp=row.accepted_at_ms,
                    on_delivery=on_delivery,
                )
            except BufferError:
                _QUEUE_FULL.inc(len(burst) - sent)
                return sent
            except KafkaException as error:
                _PRODUCER_ERROR.inc(len(burst) - sent)
                self._on_error(error.args[0])
                return sent
        return len(burst)

    def reports(self, timeout_s: float) -> list[Report]:
        """The records acknowledged since the last call; waits up to `timeout_s` for the first report of any kind."""
        self._poll(timeout_s)
        well = self._way.cluster_id and not self._lanes.silent
        if time.monotonic() - self._asked_s >= (_LOOK_INTERVAL_S if well else PROBE_INTERVAL_S):
            self.ask(_ASK_TIMEOUT_S)
        if self._replace:
            with self._turn:
                self._new_producer()
        return self._take_reports()

    def _poll(self, timeout_s: float) -> None:
        try:
            self._way.producer.poll(timeout_s)
        except KafkaException as error:  # how the client tells of a fatal error, instead of its callback
            self._on_error(error.args[0])

    def ask(self, timeout_s: float) -> None:
        """Asks for metadata, waiting up to `timeout_s`. Repeated by `reports`; before it, from whoever starts first.

        Without it the first payments after an outage (or after a start beside the brokers) would find every lane
        closed but for one probe, and wait for the publisher's sweep. And a Kafka that was made anew shows by its id.
        """
        self._asked_s = time.monotonic()
        try:
            found = self._way.producer.list_topics(self._topic, timeout=timeout_s)
        except KafkaException:
            if not self._was_frozen:
                self._awake_s = time.monotonic()
            return
        known, cluster_id = found.topics[self._topic], cluster_id_of(found)
        if not cluster_id:
            return
        if cluster_id != self._cluster_id:
            self._met(cluster_id)
        self._awake_s = time.monotonic()
        if known.error is not None or not any(partition.leader >= 0 for partition in known.partitions.values()):
            return
        with self._lock:
            self._answered = True
            if not self._way.cluster_id:
                self._way = self._way._replace(cluster_id=cluster_id)
        if self._lanes.silent:
            with self._lock:
                self._lanes.reopen()
            self._say(True, "")

    @property
    def _was_frozen(self) -> bool:
        return time.monotonic() - self._awake_s > _UNSURE_S

    def _met(self, cluster_id: str) -> None:
        """Another cluster answers than before, be it without the topic yet: nothing more goes there from this producer.

        What it has sent there already goes by the old id, so those rows are published again.
        """
        before, self._cluster_id = self._cluster_id, cluster_id
        if before:
            self._answered = False
            self._replace = True
            log.warning("Kafka was made anew: another cluster answers cluster=%s before=%s", cluster_id, before)

    def flush(self, timeout_s: float) -> list[Report]:
        """Waits until nothing is on its way any more, `timeout_s` at most; the records acknowledged meanwhile."""
        self._way.producer.flush(timeout_s)
        return self._take_reports()

    def _take_reports(self) -> list[Report]:
        reported, self._reported = self._reported, []
        if not reported:
            return []
        now_s, at_s = time.monotonic(), time.time()
        acknowledged = []
        with self._lock:
            for way, error, message in reported:
                partition = message.partition()
                if partition is not None and partition >= 0 and way.producer is self._way.producer:
                    self._lanes.reported(partition, ok=error is None, now_s=now_s)
                offset = offset_of(error, message)
                if offset is not None:
                    acknowledged.append(_report(message, offset, at_s, way.cluster_id))
            metrics.IN_FLIGHT.set(self._lanes.in_flight)
            answers = self._lanes.open
        metrics.PUBLISHED.inc(len(acknowledged))
        if failures := len(reported) - len(acknowledged):
            _NOT_ACKNOWLEDGED.inc(failures)
        self._say(answers, str(reported[-1][1]))
        return acknowledged

    def _on_delivery(self, way: _Way, error: KafkaError | None, message: Message) -> None:
        self._reported.append((way, error, message))

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            if not self._replace:
                log.error("the Kafka producer failed for good, making another reason=%s", error)
            self._replace = True
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            with self._lock:
                self._lanes.all_down(time.monotonic())
                self._answered = False
                # Brokers that are all away at once may come back as another cluster. One that never sent is none's.
                self._replace = self._replace or bool(self._way.cluster_id)
            self._say(False, str(error))

    def _new_producer(self) -> None:
        """Nothing more leaves the old producer, after a fatal error, with all brokers away, or with another cluster:
        what it held is the publisher's now."""
        self._way.producer.purge()
        self._poll(0)
        with self._lock:
            self._lanes.forget()
            self._replace = False
            cluster_id = self._cluster_id if self._answered else ""
        # The id was read before this producer was made: whatever it will report is of that cluster, or of a later one.
        self._way = _Way(self._make_producer(self._on_error), cluster_id)

    def _say(self, answers: bool, reason: str) -> None:
        """Says once that Kafka is away, once that it is back."""
        if answers and self._down:
            log.info("Kafka answers again: accepted events go there at once")
        elif not answers and not self._down:
            log.warning("Kafka does not answer: accepted events are left to the outbox-publisher reason=%s", reason)
        self._down = not answers


def _report(message: Any, offset: int, at_s: float, cluster_id: str) -> Report:
    return Report(message.key().decode(), message.partition(), offset, at_s, cluster_id)
