"""The dispatcher's settings, read once at start. Each bound says what it protects."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator
from yarl import URL

from services.common.kafka import GROUP_ID
from services.common.settings import (
    KafkaSettings,
    PerSecond,
    Port,
    PositiveSeconds,
    PostgresSettings,
    Seconds,
    SecretSettings,
    ServiceSettings,
    TopicName,
)


class DispatcherSettings(ServiceSettings, SecretSettings, PostgresSettings, KafkaSettings):
    """Everything the dispatcher can be told from outside."""

    webhook_url: str = "http://127.0.0.1:5001/webhook_listener"
    """Where every transaction is delivered to: an http or https URL."""
    max_retries: Annotated[int, Field(ge=1, le=20)] = 3
    """Attempts per round, the first one included; after the last the transaction is re-queued."""
    retry_backoff_sec: PositiveSeconds = 2.0
    """The wait after the first failed attempt; it doubles with each further one (±10 %)."""
    request_timeout_sec: PositiveSeconds = 3.0
    """How long one attempt may take in total, from connecting to the answer."""
    retry_pause_seconds: Seconds = 300.0
    """How long the consumer is paused after a round was exhausted, unless a success ends the pause."""
    probe_interval_seconds: Seconds = 5.0
    """How often one waiting transaction is tried during a pause; 0: never, wait for the whole pause."""
    retry_after_cap_sec: Seconds = 60.0
    """The longest `Retry-After` that is honoured; a longer one counts as this."""
    pause_evidence_sec: PositiveSeconds = 2.0
    """A pause ends as it starts where a delivery that began within this time before it succeeded."""
    ramp_sec: Annotated[float, Field(ge=0, le=600)] = 2.0
    """After a pause the rate of attempts grows over so long, doubling eight times; 0: as fast as they succeed."""

    metrics_port: Port = 9102
    """/metrics, /healthz and /status."""
    kafka_group_id: TopicName = GROUP_ID
    """The consumer group; its members share the partitions."""
    group_session_timeout_sec: Annotated[float, Field(ge=6, le=10)] = 6.0
    """How long a dead dispatcher keeps its partitions from other members (the brokers allow no less than 6)."""
    commit_interval_sec: Annotated[float, Field(ge=0.05, le=30)] = 0.25
    """How often offsets are committed: what was delivered since is delivered again after a kill -9."""

    max_in_flight: Annotated[int, Field(ge=1, le=20_000)] = 1000
    """Requests (and so connections) open to the merchant at once."""
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Transactions held in memory for a later attempt, parked ones included; then no more are taken."""
    max_buffered_mb: Annotated[float, Field(gt=0, le=4096)] = 32.0
    """Bytes of bodies held in memory, in MiB; then no more are taken."""
    max_unrecorded: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Outcomes not yet in Postgres; then nothing more is delivered until Postgres answers."""
    catch_up_per_sec: PerSecond = 6600.0
    """So many transactions that were accepted more than 5 s ago are taken from Kafka a second at most, after a slow
    start: as fast as it can, a backlog would take the processors from what is accepted meanwhile. At least 100;
    0: as fast as it can."""
    max_window: Annotated[int, Field(ge=1, le=1_000_000)] = 24_000
    """Offsets of one partition between the oldest open record and the newest taken. Above 24,000 the bitmap of
    finished records may not fit into a commit, and a restart delivers the rest again."""
    stall_exit_sec: PositiveSeconds = 120.0
    """Lag without any progress for this long, though Kafka answers, ends the process so that it is started anew. At
    least twice the longest wait between two attempts, whatever is set here."""

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        try:
            url = URL(value)
        except ValueError as error:
            raise ValueError("must be a URL such as http://127.0.0.1:5001/webhook_listener") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http:// or https:// URL with a host")
        return value

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        # Of the whole, not of the field: what a field refuses is shown.
        url = URL(self.webhook_url)
        if url.user or url.password:
            raise ValueError("WEBHOOK_URL must not hold a user or a password: it is written to the log")
        return self
