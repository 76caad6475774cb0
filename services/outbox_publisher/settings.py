"""What the outbox-publisher can be told, read once at start."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from services.common.kafka import GROUP_ID
from services.common.settings import (
    KafkaSettings,
    PerSecond,
    Port,
    PositiveSeconds,
    PostgresSettings,
    Seconds,
    ServiceSettings,
    TopicName,
)


class PublisherSettings(ServiceSettings, PostgresSettings, KafkaSettings):
    """Every setting of the outbox-publisher; each is an environment variable of the same name in capitals."""

    outbox_poll_interval_sec: PositiveSeconds = 0.5
    """Between two sweeps while nothing is due; full batches follow each other without a wait."""
    outbox_batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Rows claimed, produced and marked together."""
    outbox_batches_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches claimed and not marked yet at most: claiming and marking go on while Kafka writes."""
    outbox_grace_sec: Seconds = 5.0
    """How old a row must be: until then the API's own hand-over may still bring it. Keep it above the API's
    HANDOVER_TIMEOUT_MS, or both publish the row."""
    outbox_lease_sec: PositiveSeconds = 30.0
    """How long a claim holds: the rows of a publisher that died come back after it."""
    outbox_timeout_sec: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """After this a record that Kafka did not acknowledge is given back. Must be shorter than the lease."""
    outbox_linger_ms: Annotated[int, Field(ge=0, le=1000)] = 5
    """How long records are gathered into one request; a batch fills it at once."""
    outbox_nice: Annotated[int, Field(ge=0, le=19)] = 5
    """How far this process steps back (nice): what waited while Kafka was away must not hold up what is accepted."""
    outbox_catch_up_per_sec: PerSecond = 5500.0
    """So many rows of a backlog go out a second at most, after a slow start: as fast as it can, a backlog would take
    the processors from what is accepted meanwhile. At least 100; 0: as fast as it can."""
    retention_days: Annotated[float, Field(ge=0, le=36_500)] = 30.0
    """How long a payment is kept in Postgres after its delivery, with its outbox row, attempts and redeliveries; 0: for
    ever. What is not delivered is kept whatever its age. The default is well above the seven days that Kafka keeps a
    record: by then none leads to a payment that is gone. An id that is sent again after that is a new payment."""
    kafka_group_id: TopicName = GROUP_ID
    """The dispatcher's group, whose commits tell which records it has passed: the same as there."""
    metrics_port: Port = 9101
    """The port of `/metrics` and `/healthz`."""

    @model_validator(mode="after")
    def _lease_outlasts_delivery(self) -> Self:
        if self.outbox_lease_sec <= self.outbox_timeout_sec:
            raise ValueError(
                f"OUTBOX_LEASE_SEC ({self.outbox_lease_sec:g}) must be longer than "
                f"OUTBOX_TIMEOUT_SEC ({self.outbox_timeout_sec:g})"
            )
        return self
