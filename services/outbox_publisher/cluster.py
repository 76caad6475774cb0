"""What Kafka says about itself: which cluster it is, whether the topics exist, where each partition begins and ends."""

from __future__ import annotations

import concurrent.futures
from typing import Final, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from services.common.kafka import cluster_id_of, ensure_topics, make_admin, topic_id_of
from services.common.settings import KafkaSettings

_ASK_TIMEOUT_S: Final = 1.0
_OFFSETS_TIMEOUT_S: Final = 2.0
_TOPICS_TIMEOUT_S: Final = 3.0

Offsets = dict[int, int]
"""An offset by partition."""


class Seen(NamedTuple):
    """One answer."""

    cluster_id: str
    partitions: tuple[int, ...]
    """Of the payments' topic; none where it does not exist."""
    complete: bool
    """Whether both topics exist."""
    topic_id: str
    """The payments' topic's own; empty where it does not exist, or was not told."""


class Cluster:
    """Asks with a client of its own. Not for several threads."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._admin = make_admin(settings, client_id)

    def look(self) -> Seen | None:
        """What a broker says now; None where none answers."""
        try:
            found = self._admin.list_topics(timeout=_ASK_TIMEOUT_S)
        except KafkaException:
            return None
        cluster_id = cluster_id_of(found)
        if not cluster_id:
            return None
        topics = {name: topic for name, topic in found.topics.items() if topic.error is None}
        wanted = (self._settings.kafka_topic, self._settings.dead_topic)
        here = topics.get(wanted[0])
        return Seen(
            cluster_id,
            tuple(sorted(here.partitions)) if here is not None else (),
            all(name in topics and topics[name].partitions for name in wanted),
            self._topic_id() if here is not None else "",
        )

    def _topic_id(self) -> str:
        try:
            return topic_id_of(self._admin, self._settings.kafka_topic, _ASK_TIMEOUT_S)
        except (KafkaException, TimeoutError):
            return ""

    def make_topics(self) -> bool:
        """Makes the topics that are missing; False where Kafka cannot yet. Raises TopicError."""
        try:
            ensure_topics(self._settings, self._client_id, timeout_s=_TOPICS_TIMEOUT_S)
        except (KafkaException, TimeoutError, concurrent.futures.TimeoutError):
            return False
        return True

    def bounds(self, partitions: tuple[int, ...]) -> tuple[Offsets, Offsets]:
        """First and end offset of each partition whose leader answers."""
        first: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call] # theirs
        end: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # theirs
        return self._offsets(partitions, first), self._offsets(partitions, end)

    def _offsets(self, partitions: tuple[int, ...], which: OffsetSpec) -> Offsets:
        asked = {TopicPartition(self._settings.kafka_topic, number): which for number in partitions}
        found = {}
        futures = self._admin.list_offsets(asked, request_timeout=_OFFSETS_TIMEOUT_S) if asked else {}
        for place, future in futures.items():
            try:
                found[place.partition] = int(future.result(_OFFSETS_TIMEOUT_S).offset)
            except (KafkaException, TimeoutError, concurrent.futures.TimeoutError):
                continue
        return {partition: offset for partition, offset in found.items() if offset >= 0}
