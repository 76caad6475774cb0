"""The interface of a runtime: what runs the 11 members, and how each is stopped, killed, frozen and started again.

Everything above this room knows only what stands here. Implementations: `control_room.stack.local`,
`control_room.stack.docker`, and `control_room.stack.external` for a stack that is not the control room's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:  # the first imports this module, the second is loaded when it is needed
    from control_room.stack.links.client import Links
    from services.common.settings import KafkaSettings

BROKERS: Final = ("kafka-1", "kafka-2", "kafka-3")
API_REPLICAS: Final = ("ingestion-api-1", "ingestion-api-2", "ingestion-api-3")
MEMBERS: Final = ("postgres", *BROKERS, *API_REPLICAS, "nginx", "outbox-publisher", "merchant-server", "dispatcher")
"""All members, in an order in which each needs only those before it."""
FIRST_OF: Final[Mapping[str, str]] = {
    "ingestion-api": API_REPLICAS[0],
    "outbox-publisher": "outbox-publisher",
    "dispatcher": "dispatcher",
}
"""Services of which there may be more than MEMBERS has, and the member that each further one is like."""


def alike(name: str) -> str:
    """The member of MEMBERS that a further replica is like (`dispatcher-2`: `dispatcher`); any other name itself."""
    service, _, number = name.rpartition("-")
    return FIRST_OF[service] if name not in MEMBERS and service in FIRST_OF and number.isdecimal() else name


RECORDS: Final[Mapping[str, str]] = {"local": "stack.json", "docker": "docker.json"}
"""The runtimes there are, and the file in the state folder in which each keeps what it knows of its stack."""


class State(StrEnum):
    """What a member's process is doing."""

    RUNNING = "running"
    STARTING = "starting"
    FROZEN = "frozen"
    STOPPED = "stopped"
    """Told to stay down: by `stop`, `kill` or never started."""
    CRASHED = "crashed"
    """Ended by itself and about to be started again, or given up on."""


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member, as seen now."""

    name: str
    state: State
    ready: bool
    reason: str = ""
    """Why it is not ready; empty where it is."""
    pid: int | None = None
    """The member's main process (on `docker`, as the host numbers it)."""
    started_at_s: float | None = None
    """Unix time at which that process began."""
    restarts: int = 0
    """Times it ended without being told to since `up`; each time it was brought back."""
    exit_code: int | None = None
    """What it ended with the last of those times; None where it never did, or by a signal."""
    cpu_s: float = 0.0
    """CPU-seconds of its process tree since that process began."""
    memory_bytes: int = 0
    """Memory of its process tree: proportional set size where the platform tells it, else resident."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything answers, seen from the control room."""

    api_url: str
    """nginx: `http://127.0.0.1:8000`."""
    replica_urls: Mapping[str, str]
    """Each API replica past nginx, by member name."""
    merchant_url: str
    webhook_url: str
    """Where the dispatcher delivers to."""
    kafka_bootstrap: str
    kafka_ports: Mapping[str, int]
    """The EXTERNAL port of each broker, by member name."""
    kafka_topic: str
    kafka_group: str
    """The dispatcher's consumer group."""
    postgres_conninfo: str = field(repr=False)
    metrics_urls: Mapping[str, str]
    """`/metrics` of each of the services, by member name."""
    dispatcher_status_url: str
    """JSON: in flight, parked, pause, partitions."""
    ports: Mapping[str, int]
    """The port that tells whether a member listens, by member name (none for those that only dial out)."""
    kafka_client: Mapping[str, str] = field(default_factory=dict, repr=False)
    """How to be let in by the brokers: librdkafka's properties, secrets among them."""
    relayed: bool = False
    """Whether an engine's relay takes every connection to a published port before the member does."""

    def kafka_settings(self) -> KafkaSettings:
        """Where Kafka is, and how to be let in: what every Kafka client of the control room is made with."""
        from pydantic import SecretStr  # when a client is made: `--help` stays quick

        from services.common.settings import KafkaSettings

        return KafkaSettings(
            kafka_bootstrap_servers=self.kafka_bootstrap,
            kafka_security_protocol="PLAINTEXT",  # unless `kafka_client` says otherwise, whatever the environment says
            kafka_topic=self.kafka_topic,
            kafka_client=SecretStr(json.dumps(dict(self.kafka_client)) if self.kafka_client else ""),
        )


Narrate = Callable[[str], None]
"""Takes one sentence of progress."""


class StackError(RuntimeError):
    """Something about the stack that a person must act on. The message says what, and what to do."""


class StackSettingsError(StackError):
    """What the user set for a stack cannot be used (exit code 2). The message says what is allowed."""


class NotRunningError(StackError):
    """There is no stack, or it does not answer (exit code 3)."""


class Runtime(Protocol):
    """What runs a stack. Every method raises StackError with a sentence that says what to do."""

    name: str
    """`local`, `docker` or `external`."""
    why: str
    """Why it was chosen, in a few words; `up` says it."""

    def up(self, narrate: Narrate) -> None:
        """Starts what is not running and returns when every member is ready; quick where all are.

        A member that was killed or stopped on purpose is started too. Raises StackError with the last log lines of
        a member that does not come up; the others stay as they are.
        """

    def down(self, narrate: Narrate, *, volumes: bool = False) -> None:
        """Stops everything and leaves no process; with `volumes` no data either (runs are kept)."""

    def start(self, members: Iterable[str]) -> None:
        """Starts members that are down. Returns when their processes run; readiness is for `status`."""

    def stop(self, members: Iterable[str]) -> None:
        """Ends members in order (SIGTERM, or what the server takes for a clean end); they stay down."""

    def kill(self, members: Iterable[str]) -> None:
        """`kill -9` of each member's whole process group; they stay down until started."""

    def crash(self, members: Iterable[str]) -> None:
        """`kill -9`, and the supervision brings them back by itself, as after a crash."""

    def freeze(self, members: Iterable[str]) -> None:
        """SIGSTOP to every process of each member."""

    def thaw(self, members: Iterable[str]) -> None:
        """SIGCONT to every process of each member."""

    def restart(self, members: Iterable[str]) -> None:
        """A clean stop, then a start, one member after the other."""

    def status(self) -> list[MemberStatus]:
        """All members, in the order of MEMBERS. Never raises for a member that does not answer."""

    def log_paths(self, member: str) -> list[Path]:
        """The member's log files, oldest first (rotated ones before the live one)."""

    def endpoints(self) -> Endpoints:
        """Where everything answers. Raises NotRunningError where no stack was started."""

    def crash_points(self) -> Path | None:
        """The folder in which crash points are armed; None where the stack was started without CRASH_POINTS."""

    def settings(self) -> Mapping[str, str]:
        """What the user set for the services when the stack was started, by variable; the rest has its defaults.

        Raises NotRunningError as `endpoints`.
        """

    def links(self) -> Links | None:
        """How the links between members are faulted; None where the stack was started without `--links`."""

    def secret(self) -> str:
        """The HMAC_SECRET that the stack signs and verifies with. Raises NotRunningError as `endpoints`."""


@dataclass(frozen=True, slots=True)
class FreshKafka:
    """A Kafka that was made anew and not started yet."""

    cluster_id: str
    partitions_held: int
    """Copies of partitions that its brokers still hold, of any topic: 0, or it was not made anew."""


@dataclass(frozen=True, slots=True)
class HookRun:
    """How a command of the user's ended."""

    ok: bool
    """Whether it ended with 0 in time."""
    said: str
    """How it ended, and its last line."""


@runtime_checkable
class HooksFaults(Protocol):
    """A runtime that owns no member: a fault is what commands of the user's do, or it is not there."""

    def unhooked(self, fault: str) -> str | None:
        """Why the fault of this name is not there, in a sentence; None where commands are configured for it."""

    def hook_timeout_s(self, fault: str) -> float:
        """How long its effect, and the end of it, is waited for."""

    def run_hook(self, fault: str, part: str, target: str) -> HookRun:
        """Runs one of its commands (`apply`, `heal`, `evidence`) on `target`. Never raises for how it ends."""


@runtime_checkable
class WipesKafka(Protocol):
    """A runtime that can also make Kafka anew. Not every one can: whoever needs it asks with `isinstance`."""

    def wipe_kafka(self) -> FreshKafka:
        """Kills every broker, deletes all that they hold and formats them as another cluster; they stay down.

        Safe to repeat; where it was interrupted, `start` of a broker finishes it. Raises StackError.
        """


@runtime_checkable
class Isolates(Protocol):
    """A runtime whose members have networks of their own; asked for with `isinstance`, as above."""

    def isolate(self, member: str) -> None:
        """Takes it off its network: nothing reaches it or leaves it, and nobody is told. Raises StackError."""

    def rejoin(self, member: str) -> None:
        """Puts it back; harmless where it is there already."""

    def is_isolated(self, member: str) -> bool:
        """Whether it is off its network now."""


@runtime_checkable
class RestartsEngine(Protocol):
    """A runtime with an engine below its members; asked for with `isinstance`, as above."""

    def engine_restart_unavailable(self) -> str | None:
        """Why it may not be restarted, in a sentence; None where it may."""

    def restart_engine(self) -> None:
        """Restarts it, under the members; returns when it answers again. Raises StackError."""


@runtime_checkable
class FillsDisks(Protocol):
    """A runtime that can let one member's disk be full; asked for with `isinstance`, as above."""

    def disk_full_unavailable(self) -> str | None:
        """Why this platform cannot do it, in a sentence; None where it can."""

    def fill_disk(self, member: str) -> int:
        """Lets `member` write nothing more, now and after a restart; the size in bytes that its files may still reach.

        Raises StackError where the platform refuses.
        """

    def free_disk(self, member: str) -> None:
        """Lets it write again; harmless where it could already. What has ended meanwhile is not started."""

    def disk_is_full(self, member: str) -> bool:
        """Whether `fill_disk` was the last of the two."""


@runtime_checkable
class StepsClocks(Protocol):
    """A runtime that can give one member a clock of its own; asked for with `isinstance`, as above."""

    def clock_step_unavailable(self) -> str | None:
        """Why this platform cannot do it, in a sentence; None where it can."""

    def give_own_clock(self, member: str) -> None:
        """Restarts `member` with a clock of its own, right until it is stepped. Raises StackError."""

    def step_clock(self, member: str, offset_s: float) -> None:
        """Puts that clock so far ahead (behind where below zero) of the machine's, now and after a restart."""

    def take_own_clock(self, member: str) -> None:
        """Restarts `member` with the machine's clock; one that is down is not started."""

    def has_own_clock(self, member: str) -> bool:
        """Whether `give_own_clock` was the last of the two."""
