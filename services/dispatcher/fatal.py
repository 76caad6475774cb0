"""When a Kafka client is finished for good, and the process with it."""

from __future__ import annotations

from confluent_kafka import KafkaError


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that met `error` will do nothing more.

    Error callbacks say it with a flag; a fenced static member hears it from `poll`, as an error whose flag is not set
    and whose code is `_FATAL`.
    """
    return error.fatal() or error.code() == KafkaError._FATAL
