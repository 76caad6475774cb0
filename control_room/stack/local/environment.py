"""What the members see of the environment: an explicit list of names, and nothing else of the user's shell."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from control_room.stack.links.names import API, door_name
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import API_REPLICAS, BROKERS, StackError
from services.common import crash

SYSTEM: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""What any process may need."""
PASSED_ON: Final = (
    "WEBHOOK_URL",
    "MAX_RETRIES",
    "RETRY_BACKOFF_SEC",
    "REQUEST_TIMEOUT_SEC",
    "RETRY_AFTER_CAP_SEC",
    "RETRY_PAUSE_SECONDS",
    "PROBE_INTERVAL_SECONDS",
    "PAUSE_EVIDENCE_SEC",
    "RAMP_SEC",
    "MAX_IN_FLIGHT",
    "MAX_WAITING",
    "MAX_BUFFERED_MB",
    "MAX_UNRECORDED",
    "MAX_WINDOW",
    "CATCH_UP_PER_SEC",
    "COMMIT_INTERVAL_SEC",
    "GROUP_SESSION_TIMEOUT_SEC",
    "STALL_EXIT_SEC",
    "KAFKA_TOPIC_PARTITIONS",
    "KAFKA_GROUP_ID",
    "FAILURE_RATE",
    "TIMEOUT_SHARE",
    "HANG_SEC",
    "OUTBOX_POLL_INTERVAL_SEC",
    "OUTBOX_BATCH_SIZE",
    "OUTBOX_BATCHES_IN_FLIGHT",
    "OUTBOX_GRACE_SEC",
    "OUTBOX_LEASE_SEC",
    "OUTBOX_TIMEOUT_SEC",
    "OUTBOX_LINGER_MS",
    "OUTBOX_NICE",
    "OUTBOX_CATCH_UP_PER_SEC",
    "RETENTION_DAYS",
    "API_NICE",
    "GROUP_MAX_EVENTS",
    "GROUP_LINGER_MS",
    "HANDOVER_TIMEOUT_MS",
    "HANDOVER_QUEUE_MAX",
    "MARK_INTERVAL_MS",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "POSTGRES_DEADLINE_SEC",
    "SHUTDOWN_GRACE_SEC",
)
"""Settings of the services that a user may set for `up`; ports and addresses are not here: the stack decides them."""
DECIDED_HERE: Final = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_CLIENT", "POSTGRES_HOST")
"""Set by a user, these would point the services at other servers than the stack's own: they are left out."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the services are told about each other."""

    ports: Mapping[str, int]
    topic: str
    database: str
    user: str
    password: str
    secret: str
    ledger: str
    crash_dir: str = ""
    """Where crash points are armed; empty: there are none."""

    def dialled(self, client: str, server: str) -> int:
        """The port at which `client` reaches `server`: its own door where the stack has links."""
        return self.ports.get(door_name(client, server), self.ports[server])

    def bootstrap(self, client: str) -> str:
        """The brokers as `client` reaches them, comma-separated."""
        return ",".join(f"{HOST}:{self.dialled(client, name)}" for name in BROKERS)

    @property
    def webhook_url(self) -> str:
        """Where the merchant-server of this stack listens."""
        return self._webhook_url(self.ports["merchant-server"])

    @property
    def dispatcher_webhook_url(self) -> str:
        """Where the dispatcher reaches it."""
        return self._webhook_url(self.dialled("dispatcher", "merchant-server"))

    @staticmethod
    def _webhook_url(port: int) -> str:
        return f"http://{HOST}:{port}/webhook_listener"


def system(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the user's environment that every member gets."""
    return {name: environ[name] for name in SYSTEM if name in environ}


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The services' settings that the user set."""
    return {name: environ[name] for name in PASSED_ON if name in environ}


def crash_points(environ: Mapping[str, str]) -> bool:
    """Whether the user wants the services to have their crash points. Raises StackError for another value."""
    wanted = environ.get(crash.SETTING, "").strip()
    if wanted not in ("", "0", "1"):
        raise StackError(f"{crash.SETTING} must be 1 (the services get their crash points) or 0 (given: {wanted!r})")
    return wanted == "1"


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """What the user set of what the members are started with, crash points included. Raises StackError for nonsense."""
    return {**passed_on(environ), **({crash.SETTING: "1"} if crash_points(environ) else {})}


def for_service(member: str, environ: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
    """The whole environment of one of the services."""
    port = str(addresses.ports[member])
    client = API if member in API_REPLICAS else member
    own = {"MERCHANT_PORT": port} if member == "merchant-server" else {"METRICS_PORT": port}
    if member in API_REPLICAS:
        own = {"API_PORT": port}
    return {
        "WEBHOOK_URL": addresses.dispatcher_webhook_url,
        **system(environ),
        **passed_on(environ),
        **own,
        "MEMBER_NAME": member,
        "LISTEN_HOST": HOST,
        "HMAC_SECRET": addresses.secret,
        "POSTGRES_HOST": HOST,
        "POSTGRES_PORT": str(addresses.dialled(client, "postgres")),
        "POSTGRES_USER": addresses.user,
        "POSTGRES_PASSWORD": addresses.password,
        "POSTGRES_DB": addresses.database,
        "KAFKA_BOOTSTRAP_SERVERS": addresses.bootstrap(client),
        "KAFKA_TOPIC": addresses.topic,
        "LEDGER_PATH": addresses.ledger,
        **({crash.SETTING: addresses.crash_dir} if addresses.crash_dir else {}),
        "PYTHONUNBUFFERED": "1",
    }


def service_command(member: str) -> list[str]:
    """What runs one of the services. `-P`: nothing is imported from the working directory."""
    module = "ingestion_api" if member in API_REPLICAS else member.replace("-", "_")
    return [sys.executable, "-P", "-m", f"services.{module}"]
