"""Whether the Kafka that answers is still the one this process began with. Used by the consumer thread alone.

A Kafka that was made anew knows nothing of this consumer's group, of its offsets, or of the re-queue producer's id, and
a topic that is gone is made by whoever starts. So the process ends and begins anew: nothing it holds in memory is worth
keeping, since the outbox-publisher publishes again what was not delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

INTERVAL_S: Final = 2.0
"""Between two looks."""
TIMEOUT_S: Final = 2.0
"""For one answer."""
GONE_LOOKS: Final = 2
"""So many looks in a row must find no topic: a broker that has just started may not have heard of it."""
Ask = Callable[[], Future[Any]]
"""Puts a question to Kafka; its result raises KafkaException."""


def instance_id(member: str, topic_id: str) -> str:
    """The static member's name in the group: the member's own, and the id of the topic as it is now.

    A static member that comes back within its session keeps its partitions without a rebalance. A consumer that was
    in the group while there was no topic has none, and the process after it would keep none, for ever.
    """
    return f"{member}.{topic_id}"


class ClusterWatch:
    """Looks at the cluster's id and at the topic now and then. Asks at one look and hears the answer at the next: the
    consumer's thread waits for nothing here."""

    def __init__(self, topic: str, topic_id: str, ask_cluster: Ask, ask_topic: Ask) -> None:
        """`topic_id` is the topic's as this process began. The questions' answers have `cluster_id` and `topic_id`."""
        self.topic_id = topic_id
        self._topic = topic
        self._ask_cluster = ask_cluster
        self._ask_topic = ask_topic
        self._asked: tuple[Future[Any], Future[Any]] | None = None
        self._cluster_id = ""
        self._missed = 0
        self._next_s = 0.0

    def look(self, now_s: float) -> str | None:
        """A sentence where the process is to begin anew."""
        if now_s < self._next_s or (self._asked is not None and not all(each.done() for each in self._asked)):
            return None
        self._next_s = now_s + INTERVAL_S
        asked, self._asked = self._asked, (self._ask_cluster(), self._ask_topic())
        return None if asked is None else self._judge(*asked)

    def _judge(self, cluster: Future[Any], topic: Future[Any]) -> str | None:
        try:
            answers = str(cluster.result(0).cluster_id or "")
        except (KafkaException, TimeoutError):
            return None
        before, self._cluster_id = self._cluster_id, answers or self._cluster_id
        if before and answers and answers != before:
            return f"Kafka was made anew (cluster {answers}, before {before}): beginning anew"
        try:
            topic_id = str(topic.result(0).topic_id)
        except (KafkaException, TimeoutError) as error:
            return self._gone(error)
        self._missed = 0
        if topic_id == self.topic_id:
            return None
        # Positions in the old one would skip records of the new one.
        return f"the topic {self._topic} was deleted and made again (id {topic_id}): beginning anew"

    def _gone(self, error: Exception) -> str | None:
        gone = isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
        self._missed = self._missed + 1 if gone else 0
        if self._missed < GONE_LOOKS:
            return None
        return f"the topic {self._topic} is gone: beginning anew, which makes it"
