"""Whether the parts of a stack that runs elsewhere do their work: each asked in its own way, all side by side."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from control_room.stack.external.config import SERVICES, ExternalConfig
from control_room.stack.local.readiness import SILENT, service_answer
from control_room.stack.runtime import Endpoints
from services.common.kafka import make_admin

POSTGRES: Final = "postgres"
_METADATA_S: Final = 2.0
_PATIENCE: Final[dict[str, Any]] = {
    "application_name": "bruce-control",
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "options": "-c statement_timeout=2000",
}
"""Of a server that falls silent nothing hangs: not for longer than the others may take."""


class ExternalProbes:
    """Asks one stack, and keeps its connections for the next time. Calls from several threads take turns."""

    def __init__(self, config: ExternalConfig, endpoints: Endpoints) -> None:
        self._config = config
        self._endpoints = endpoints
        self._admin: AdminClient | None = None
        self._kafka_error = ""
        self._postgres: psycopg.Connection[Any] | None = None
        self._lock = threading.Lock()

    def ask(self) -> dict[str, str]:
        """Why each member is not ready, by name; an empty text where it is. Never raises for one that is silent."""
        members = self._config.members
        with self._lock, ThreadPoolExecutor(len(members) + 2, thread_name_prefix="probe") as pool:
            postgres, brokers = pool.submit(self._ask_postgres), pool.submit(self._ask_brokers)
            services = pool.map(_ask_service, members, members.values())
            return {POSTGRES: postgres.result(), **brokers.result(), **dict(zip(members, services, strict=True))}

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            self._let_go()
            self._admin = None

    def _ask_postgres(self) -> str:
        """Lets itself in: a certificate or a password that is refused shows here."""
        try:
            if self._postgres is None:
                self._postgres = psycopg.connect(self._endpoints.postgres_conninfo, autocommit=True, **_PATIENCE)
            self._postgres.execute("SELECT 1")
        except psycopg.Error as error:
            self._let_go()
            return f"{SILENT}: Postgres does not let us in: {_first_line(error)}"
        return ""

    def _let_go(self) -> None:
        if self._postgres is not None:
            self._postgres.close()
            self._postgres = None

    def _ask_brokers(self) -> dict[str, str]:
        names = {number: f"kafka-{number}" for number in self._config.broker_ids}
        admin = self._client()
        try:
            metadata = admin.list_topics(timeout=_METADATA_S)
        except KafkaException as error:
            admin.poll(0)  # hands over what the connections failed of
            why = self._kafka_error or error.args[0].str()
            return dict.fromkeys(names.values(), f"{SILENT}: Kafka gives no metadata: {why}")
        admin.poll(0)
        self._kafka_error = ""
        return {name: _broker(number, metadata) for number, name in names.items()}

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = make_admin(self._endpoints.kafka_settings(), "control-room", error_cb=self._note)
        return self._admin

    def _note(self, error: KafkaError) -> None:
        """Keeps why a connection failed: a refused certificate or password, where the question only times out."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._kafka_error = error.str()


def _broker(number: int, metadata: Any) -> str:
    if number not in metadata.brokers:
        return f"{SILENT}: not a member of the cluster"
    behind = sum(
        number in partition.replicas and number not in partition.isrs
        for topic in metadata.topics.values()
        for partition in topic.partitions.values()
    )
    return f"not in the in-sync set of {behind} partitions" if behind else ""


def _ask_service(name: str, url: str) -> str:
    service = next(each for each in SERVICES if name.startswith(each))
    return service_answer(service, url, f"from {urlsplit(url).netloc}")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def endpoints_of(config: ExternalConfig) -> Endpoints:
    """Where everything answers."""
    members: Mapping[str, str] = config.members
    dispatchers = list(config.of_service("dispatcher").values())
    return Endpoints(
        api_url=config.api,
        replica_urls=config.of_service("ingestion-api"),
        merchant_url=next(iter(config.of_service("merchant-server").values()), ""),
        webhook_url=config.webhook_url or "",
        kafka_bootstrap=config.bootstrap,
        kafka_ports={},
        kafka_topic=config.topic,
        kafka_group=config.group,
        postgres_conninfo=config.conninfo,
        metrics_urls={name: f"{url}/metrics" for name, url in members.items() if not name.startswith("nginx")},
        dispatcher_status_url=f"{dispatchers[0]}/status" if dispatchers else "",
        ports={},
        kafka_client=config.kafka_client,
    )
