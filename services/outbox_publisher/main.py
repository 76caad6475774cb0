"""`python -m services.outbox_publisher`: migrate, make the topics, sweep, drain."""

from __future__ import annotations

import logging
import os
from typing import Final

from confluent_kafka import KafkaException, Producer

from services.common import logs
from services.common.kafka import TopicError, ensure_topics, make_producer
from services.common.lanes import Lanes
from services.common.lifecycle import StopFlag
from services.common.outbox import SESSION_OPTIONS
from services.common.postgres import Link
from services.common.schema import SchemaError, migrate_when_up
from services.common.settings import load
from services.outbox_publisher.cluster import Cluster
from services.outbox_publisher.courier import Courier, ProducerFatalError
from services.outbox_publisher.health import Heartbeat, serve
from services.outbox_publisher.publisher import Publisher
from services.outbox_publisher.settings import PublisherSettings

log = logging.getLogger("services.outbox_publisher")
_TOPIC_RETRY_S: Final = 1.0
_TOPIC_TIMEOUT_S: Final = 3.0
"""A signal is noticed between two tries only."""


def main() -> int:
    """Runs the service until SIGTERM or SIGINT; the exit status."""
    settings = load(PublisherSettings)
    os.nice(settings.outbox_nice)  # of this thread and of those it starts: the log's is the first
    logs.setup(settings.member_name, settings.log_format, settings.log_level)
    stop = StopFlag()
    stop.install()
    heartbeat = Heartbeat()
    serve(settings.listen_host, settings.metrics_port, heartbeat.alive)
    try:
        if not migrate_when_up(settings.conninfo, stop, heartbeat.beat):
            return 0
        if not _topics_when_up(settings, stop, heartbeat):
            return 0
    except (SchemaError, TopicError) as error:
        log.error("%s", error)
        return 1
    return _publish(settings, stop, heartbeat)


def _publish(settings: PublisherSettings, stop: StopFlag, heartbeat: Heartbeat) -> int:
    link = Link(
        settings.conninfo, settings.member_name, deadline_s=settings.postgres_deadline_sec, options=SESSION_OPTIONS
    )
    courier = Courier(
        lambda on_error: _producer(settings, on_error), settings.kafka_topic, Lanes(settings.kafka_topic_partitions)
    )
    publisher = Publisher(settings, link, courier, Cluster(settings, settings.member_name), stop)
    status = 0
    try:
        log.info("publishing topic=%s", settings.kafka_topic)
        while not stop.is_set():
            heartbeat.beat()
            publisher.step()
    except ProducerFatalError as error:
        log.error("the Kafka producer failed for good, leaving to be started again reason=%s", error)
        status = 1
    except TopicError as error:
        log.error("%s", error)
        status = 1
    publisher.drain(settings.shutdown_grace_sec)
    log.info("left in order" if status == 0 else "left")
    return status


def _topics_when_up(settings: PublisherSettings, stop: StopFlag, heartbeat: Heartbeat) -> bool:
    """Makes the topics, repeated until Kafka answers; False where `stop` came first. Raises TopicError."""
    waiting = False
    while not stop.is_set():
        heartbeat.beat()
        try:
            ensure_topics(settings, settings.member_name, timeout_s=_TOPIC_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            if not waiting:
                waiting = True
                log.warning("waiting for Kafka reason=%s", error)
            stop.wait(_TOPIC_RETRY_S)
        else:
            return True
    return False


def _producer(settings: PublisherSettings, on_error: object) -> Producer:
    return make_producer(
        settings,
        settings.member_name,
        linger_ms=settings.outbox_linger_ms,
        message_timeout_ms=int(settings.outbox_timeout_sec * 1000),
        queue_buffering_max_messages=max(10_000, 2 * settings.outbox_batch_size * settings.outbox_batches_in_flight),
        error_cb=on_error,
    )
