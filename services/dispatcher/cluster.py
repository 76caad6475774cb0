"""Whether the Kafka that answers is still the one this process began with. Used by the consumer thread alone.

A Kafka that was made anew knows nothing of this consumer's group, of its offsets, or of the re-queue producer's id, and
a topic that is gone is made by whoever starts. So the process ends and begins anew: nothing it holds in memory is worth
keeping, since the outbox-publisher publishes again what was not delivered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from services.common.kafka import cluster_id_of

INTERVAL_S: Final = 3.0
"""Between two looks."""
TIMEOUT_S: Final = 0.5
"""A broker of the same site answers in milliseconds; while none does, the consumer has nothing else to do."""
GONE_LOOKS: Final = 2
"""So many looks in a row must find no topic: a broker that has just started may not have heard of it."""


def instance_id(member: str, topic_id: str) -> str:
    """The static member's name in the group: the member's own, and the id of the topic as it is now.

    A static member that comes back within its session keeps its partitions without a rebalance. A consumer that was
    in the group while there was no topic has none, and the process after it would keep none, for ever.
    """
    return f"{member}.{topic_id}"


class ClusterWatch:
    """Looks at the cluster's id and at the topic now and then."""

    def __init__(self, topic: str, topic_id: str, ask_topic_id: Callable[[float], str]) -> None:
        """`topic_id` is the topic's as this process began; `ask_topic_id` asks for it as it is, within the seconds
        given, and raises KafkaException or TimeoutError."""
        self.topic_id = topic_id
        self._topic = topic
        self._ask_topic_id = ask_topic_id
        self._cluster_id = ""
        self._missed = 0
        self._next_s = 0.0

    def look(self, consumer: Consumer, now_s: float) -> str | None:
        """A sentence where the process is to begin anew."""
        if now_s < self._next_s:
            return None
        self._next_s = now_s + INTERVAL_S
        try:
            found = consumer.list_topics(self._topic, timeout=TIMEOUT_S)
        except KafkaException:
            return None
        before, answers = self._cluster_id, cluster_id_of(found)
        self._cluster_id = answers or before
        if before and answers and answers != before:
            return f"Kafka was made anew (cluster {answers}, before {before}): beginning anew"
        error = found.topics[self._topic].error
        gone = error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
        self._missed = self._missed + 1 if gone else 0
        if self._missed >= GONE_LOOKS:
            return f"the topic {self._topic} is gone: beginning anew, which makes it"
        return None if gone else self._another_topic()

    def _another_topic(self) -> str | None:
        """A sentence where the name belongs to another topic now: positions in the old one would skip its records."""
        try:
            topic_id = self._ask_topic_id(TIMEOUT_S)
        except (KafkaException, TimeoutError):
            return None
        if topic_id == self.topic_id:
            return None
        return f"the topic {self._topic} was deleted and made again (id {topic_id}): beginning anew"
