"""Whether the Kafka that answers is still the one this process began with. Used by the consumer thread alone.

A Kafka that was made anew knows nothing of this consumer's group, of its offsets, or of the re-queue producer's id, and
a topic that is gone is made by whoever starts. So the process ends and begins anew: nothing it holds in memory is worth
keeping, since the outbox-publisher publishes again what was not delivered.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection

from services.common.kafka import cluster_id_of, make_admin
from services.common.settings import KafkaSettings

INTERVAL_S: Final = 3.0
"""Between two looks."""
TIMEOUT_S: Final = 0.5
"""A broker of the same site answers in milliseconds; while none does, the consumer has nothing else to do."""
GONE_LOOKS: Final = 2
"""So many looks in a row must find no topic: a broker that has just started may not have heard of it."""


_BITS_64: Final = 2**64 - 1


def instance_id(settings: KafkaSettings, member: str, timeout_s: float) -> str:
    """The static member's name in the group: the member's own, and the id of the topic as it is now.

    A static member that comes back within its session keeps its partitions without a rebalance. A consumer that was
    in the group while there was no topic has none, and the process after it would keep none, for ever.

    Raises:
        KafkaException, TimeoutError: Kafka did not answer.
    """
    admin = make_admin(settings, member)  # kept until the answer is there
    asked = admin.describe_topics(TopicCollection([settings.kafka_topic]), request_timeout=timeout_s)
    topic = asked[settings.kafka_topic].result(timeout_s).topic_id
    high, low = topic.get_most_significant_bits() & _BITS_64, topic.get_least_significant_bits() & _BITS_64
    return f"{member}.{high:016x}{low:016x}"


class ClusterWatch:
    """Looks at the cluster's id and at the topic now and then."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
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
        return None
