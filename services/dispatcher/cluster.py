"""Whether the Kafka that answers is still the one this process began with. Used by the consumer thread alone.

A Kafka that was made anew knows nothing of this consumer's group, of its offsets, or of the re-queue producer's id, and
a topic that is gone is made by whoever starts. So the process ends and begins anew: nothing it holds in memory is worth
keeping, since the outbox-publisher publishes again what was not delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from services.common.kafka import cluster_id_of, topic_id_of

INTERVAL_S: Final = 2.0
"""Between two looks."""
TIMEOUT_S: Final = 2.0
"""For one answer."""
GONE_LOOKS: Final = 2
"""So many looks in a row must find no topic: a broker that has just started may not have heard of it."""
SETTLED_LOOKS: Final = 3
"""After Kafka was away it has answered so many times before it is asked for the topic's id."""


class Told(NamedTuple):
    """What Kafka said at a look."""

    cluster_id: str
    """Empty where it did not say."""
    topic_id: str | None
    """Empty where there is no such topic, None where nobody told."""


Ask = Callable[[], Future[Told]]
"""Puts the question; its result raises KafkaException."""


class Asker:
    """Asks in a thread of its own, for the metadata first and for the topic's id only where that came a few times.

    A description that waits for a broker costs librdkafka 2.16 up to a whole core until it is given up: the client's
    main thread and that broker's wake each other without an end. A request for metadata waits and costs nothing. So
    while Kafka is away nothing else is asked, nor while its brokers come back one by one.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        """Kafka has just answered, or there would be no topic's id to compare with."""
        self._admin = admin
        self._topic = topic
        self._answers = SETTLED_LOOKS

    def __call__(self) -> Future[Told]:
        """Puts the question; only one at a time."""
        answer: Future[Told] = Future()
        threading.Thread(target=self._put, args=(answer,), name="cluster", daemon=True).start()
        return answer

    def _put(self, answer: Future[Told]) -> None:
        try:
            cluster_id = cluster_id_of(self._admin.list_topics(self._topic, timeout=TIMEOUT_S))
            self._answers += 1
            settled = self._answers > SETTLED_LOOKS
            answer.set_result(Told(cluster_id, _topic_id(self._admin, self._topic) if settled else None))
        except Exception as error:  # noqa: BLE001 - it is handed on: whoever looks next hears of it, and no question stays open
            self._answers = 0
            answer.set_exception(error)


def _topic_id(admin: AdminClient, topic: str) -> str | None:
    try:
        return topic_id_of(admin, topic, TIMEOUT_S)
    except TimeoutError:
        return None
    except KafkaException as error:
        return "" if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART else None


def instance_id(member: str, topic_id: str) -> str:
    """The static member's name in the group: the member's own, and the id of the topic as it is now.

    A static member that comes back within its session keeps its partitions without a rebalance. A consumer that was
    in the group while there was no topic has none, and the process after it would keep none, for ever.
    """
    return f"{member}.{topic_id}"


class ClusterWatch:
    """Looks at the cluster's id and at the topic now and then. Asks at one look and hears the answer at the next: the
    consumer's thread waits for nothing here."""

    def __init__(self, topic: str, topic_id: str, ask: Ask) -> None:
        """`topic_id` is the topic's as this process began."""
        self.topic_id = topic_id
        self._topic = topic
        self._ask = ask
        self._asked: Future[Told] | None = None
        self._cluster_id = ""
        self._missed = 0
        self._next_s = 0.0

    def look(self, now_s: float) -> str | None:
        """A sentence where the process is to begin anew."""
        if now_s < self._next_s or (self._asked is not None and not self._asked.done()):
            return None
        self._next_s = now_s + INTERVAL_S
        asked, self._asked = self._asked, self._ask()
        return None if asked is None else self._judge(asked)

    def _judge(self, asked: Future[Told]) -> str | None:
        try:
            told = asked.result(0)
        except KafkaException:
            return None
        before, self._cluster_id = self._cluster_id, told.cluster_id or self._cluster_id
        if before and told.cluster_id and told.cluster_id != before:
            return f"Kafka was made anew (cluster {told.cluster_id}, before {before}): beginning anew"
        if told.topic_id == "":
            return self._gone()
        self._missed = 0
        if told.topic_id is None or told.topic_id == self.topic_id:
            return None
        # Positions in the old one would skip records of the new one.
        return f"the topic {self._topic} was deleted and made again (id {told.topic_id}): beginning anew"

    def _gone(self) -> str | None:
        self._missed += 1
        if self._missed < GONE_LOOKS:
            return None
        return f"the topic {self._topic} is gone: beginning anew, which makes it"
