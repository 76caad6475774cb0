"""What the dispatcher's group has committed, asked by a consumer that joins no group.

Not by the admin client: its questions to a group's coordinator end the whole process, without an exception, where the
connection breaks at that moment (librdkafka's issue 4605), and here coordinators are killed on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from services.common.kafka import make_consumer
from services.common.settings import KafkaSettings


class GroupOffsets:
    """Keeps its connection for the next question. Not for several threads."""

    def __init__(self, settings: KafkaSettings, client_id: str, group: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._group = group
        self._consumer: Consumer | None = None

    def read(self, partitions: Iterable[int], timeout_s: float) -> list[TopicPartition]:
        """Offset and metadata of each partition; an offset below 0 where nothing was committed.

        Raises:
            KafkaException: no answer within `timeout_s`, or a partition's commit could not be read.
        """
        if self._consumer is None:
            self._consumer = make_consumer(self._settings, self._client_id, group_id=self._group)
        asked = [TopicPartition(self._settings.kafka_topic, number) for number in partitions]
        told = self._consumer.committed(asked, timeout=timeout_s)
        self._consumer.poll(0)  # hands librdkafka's log lines to their logger instead of queueing them for ever
        for each in told:
            if each.error is not None:
                raise KafkaException(each.error)
        return list(told)
