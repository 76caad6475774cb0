"""What the ingestion-api can be told, read once at start."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.common.settings import KafkaSettings, Port, PostgresSettings, SecretSettings, ServiceSettings


class ApiSettings(ServiceSettings, SecretSettings, PostgresSettings, KafkaSettings):
    """Every setting of the ingestion-api; each is an environment variable of the same name in capitals."""

    api_port: Port = 8000
    """The port of `POST /events`, `/healthz`, `/readyz` and `/metrics`."""
    api_nice: Annotated[int, Field(ge=0, le=19)] = 5
    """How far this process steps back (nice) for what delivers: accepting at full speed must not starve delivering."""
    group_max_events: Annotated[int, Field(ge=1, le=5000)] = 200
    """Events in one statement and one COMMIT at most."""
    group_linger_ms: Annotated[int, Field(ge=0, le=1000)] = 40
    """How long events are gathered at most before they are committed together, and go to Kafka together, by a replica
    that is short of processor time; one that is not, or that gets fewer than 150 a second, gathers them for 10 ms. The
    price is this much latency, the gain that the costs of a COMMIT and of a request to a broker are shared."""
    handover_timeout_ms: Annotated[int, Field(ge=500, le=60_000)] = 4000
    """After this a record that Kafka did not acknowledge is left to the outbox-publisher. Keep it below the publisher's
    OUTBOX_GRACE_SEC, or both publish the row."""
    handover_queue_max: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    """Records on their way to Kafka at most; what does not fit is left to the outbox-publisher."""
    mark_interval_ms: Annotated[int, Field(ge=1, le=5000)] = 250
    """How long acknowledged records are gathered before their outbox rows are marked in one statement: each is a COMMIT
    with its fsync. What is not marked when the replica is killed goes to Kafka a second time."""
