"""Kafka clients made one way, and the topics every part relies on.

Producers are idempotent with acks=all; a record counts as published only in its delivery report. Consumers commit only
by hand. Clients log through `logging`: nothing of librdkafka reaches the terminal.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from services.common.settings import KafkaSettings, client_properties

log = logging.getLogger(__name__)
_client_log = logging.getLogger("librdkafka")
_CALM_S: Final = 60.0
_METADATA_PAUSE_S: Final = 0.1
_CHANGING = re.compile(r"\d+ms")


class _Calm(logging.Filter):
    """The same line of librdkafka at most once a minute: a dead broker makes dozens a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record's text, times aside, is new."""
        key = _CHANGING.sub("", record.getMessage())
        if record.created - self._said_s.get(key, 0.0) < _CALM_S:
            return False
        if len(self._said_s) > 1000:
            self._said_s.clear()
        self._said_s[key] = record.created
        return True


_client_log.addFilter(_Calm())


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that met `error` will do nothing more.

    Error callbacks say it with a flag; a fenced static member hears it from `poll`, as an error whose flag is not set
    and whose code is `_FATAL`.
    """
    return error.fatal() or error.code() == KafkaError._FATAL


RETENTION_MS: Final = 7 * 24 * 3600 * 1000
"""Longer than the longest outage that anyone should have to survive."""
GROUP_ID: Final = "bruce-dispatcher"

ROUND_HEADER: Final = "round"
FIRST_SEEN_HEADER: Final = "first-seen"
"""Unix milliseconds at which the event was accepted; survives re-queues."""
NOT_BEFORE_HEADER: Final = "not-before"
"""Unix milliseconds before which a re-queued event is not tried again."""
REDELIVERY_HEADER: Final = "redelivery"
"""The number of the redelivery that the record belongs to; survives re-queues. Absent for the event's own delivery."""


class TopicError(RuntimeError):
    """A topic that exists but is not made as the promise needs it. The message says what differs."""


def _base(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    return {
        **settings.security,
        **client_properties(settings.kafka_client.get_secret_value()),
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": client_id,
        "logger": _client_log,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 30_000,
        "log.connection.close": False,
    }


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """librdkafka's names; the client's own callbacks (`error_cb`, `on_commit`) keep theirs."""
    return {
        key if key.endswith("_cb") or key.startswith("on_") else key.replace("_", "."): value
        for key, value in options.items()
    }


def make_producer(settings: KafkaSettings, client_id: str, **options: Any) -> Producer:
    """An idempotent acks=all producer. `options` are librdkafka's, dots written as underscores."""
    config = {
        **_base(settings, client_id),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "none",
        **_options(options),
    }
    return Producer(config)


def make_consumer(settings: KafkaSettings, client_id: str, **options: Any) -> Consumer:
    """A consumer that commits nothing by itself. `options` are librdkafka's, dots written as underscores."""
    config = {
        **_base(settings, client_id),
        "group.id": GROUP_ID,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        **_options(options),
    }
    return Consumer(config)


def make_admin(settings: KafkaSettings, client_id: str, **options: Any) -> AdminClient:
    """An admin client for metadata, topics and groups. `options` are librdkafka's, dots written as underscores."""
    return AdminClient({**_base(settings, client_id), **_options(options)})


def cluster_id_of(metadata: Any) -> str:
    """The id of the cluster that gave this metadata; empty where it does not say."""
    return str(metadata.cluster_id or "")


def offset_of(error: KafkaError | None, message: Message) -> int | None:
    """Where Kafka holds the record of a delivery report; None where it is not known to hold it.

    A report without an error and without an offset is none of success: so librdkafka tells of a broker that refused a
    repeat as a duplicate. After a change of leader the new one may know nothing of this producer: it takes whatever
    sequence comes first, and calls the earlier one a duplicate though nobody kept its record. That record is published
    again; where it was kept after all, the merchant sees it twice.
    """
    offset = message.offset() if error is None else None
    return offset if offset is not None and offset >= 0 else None


def topic_id_of(admin: AdminClient, topic: str, timeout_s: float) -> str:
    """The topic's own id, as Kafka's tools show it: a topic that was deleted and made again has another one.

    Offsets mean something only together with it.

    Raises:
        KafkaException, TimeoutError: Kafka did not answer within `timeout_s`, or there is no such topic.
    """
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
    return str(asked[topic].result(timeout_s).topic_id)


def ensure_topics(settings: KafkaSettings, client_id: str, *, timeout_s: float = 30.0) -> None:
    """Makes the topics where they are missing and asserts that they are as the promise needs them.

    Raises:
        TopicError: a topic with fewer partitions, other replication, other in-sync replicas or unclean election.
        KafkaException: Kafka did not answer within `timeout_s`.
    """
    admin = make_admin(settings, client_id)
    wanted = (settings.kafka_topic, settings.dead_topic)
    config = {
        "min.insync.replicas": str(settings.kafka_min_insync_replicas),
        "unclean.leader.election.enable": "false",
        "retention.ms": str(RETENTION_MS),
    }
    new = [
        NewTopic(name, settings.kafka_topic_partitions, settings.kafka_replication_factor, config=config)
        for name in wanted
    ]
    for name, future in admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
        try:
            future.result(timeout_s)
            log.info("topic made name=%s partitions=%d", name, settings.kafka_topic_partitions)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return _assert_topics(admin, settings, wanted, config, timeout_s)
        except KafkaException as error:
            # A broker that has not heard of a topic made a moment ago through another one.
            unheard = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            if not unheard or time.monotonic() > until_s:
                raise
            time.sleep(_METADATA_PAUSE_S)


def _assert_topics(
    admin: AdminClient, settings: KafkaSettings, names: tuple[str, ...], config: dict[str, str], timeout_s: float
) -> None:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    for resource, future in admin.describe_configs(resources, request_timeout=timeout_s).items():
        entries = future.result(timeout_s)
        for key, expected in config.items():
            found = entries[key].value
            if key == "retention.ms" and (int(found) < 0 or int(found) >= int(expected)):
                continue
            if found != expected:
                raise TopicError(f"topic {resource.name}: {key} is {found}, must be {expected}")
    topics = admin.list_topics(timeout=timeout_s).topics
    for name in names:
        if name not in topics or not topics[name].partitions:
            # Nothing is asserted of what is not seen: asked again, until this broker has heard of it.
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"topic {name} is not in the metadata"))
        if name == settings.kafka_topic and len(topics[name].partitions) < settings.kafka_topic_partitions:
            raise TopicError(
                f"topic {name}: {len(topics[name].partitions)} partitions, "
                f"must be at least {settings.kafka_topic_partitions} (KAFKA_TOPIC_PARTITIONS)"
            )
        for number, partition in topics[name].partitions.items():
            if len(partition.replicas) != settings.kafka_replication_factor:
                raise TopicError(
                    f"topic {name} partition {number}: {len(partition.replicas)} replicas, "
                    f"must be {settings.kafka_replication_factor}"
                )
