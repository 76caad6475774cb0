"""What a stack looks like from outside: its members, their logs, where they answer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from pydantic import SecretStr, ValidationError

from control_room.stack.local import postgres, processes
from control_room.stack.local.layout import Layout
from control_room.stack.local.ports import HOST
from control_room.stack.local.readiness import Probes
from control_room.stack.local.record import StackRecord
from control_room.stack.local.supervision import Ends, Phase, Supervised, Supervisor, unexpected_ends
from control_room.stack.runtime import (
    API_REPLICAS,
    BROKERS,
    MEMBERS,
    Endpoints,
    MemberStatus,
    NotRunningError,
    StackError,
    State,
)
from services.common.kafka import GROUP_ID
from services.common.settings import KafkaSettings, explain

_METRICS = (*API_REPLICAS, "outbox-publisher", "merchant-server", "dispatcher")
_NOT_STARTED = "not started"
_UNSUPERVISED = "its supervisor is gone: `bruce-control up` puts that right"


def nothing() -> list[MemberStatus]:
    """The members of a stack that was never started."""
    return [MemberStatus(name, State.STOPPED, ready=False, reason=_NOT_STARTED) for name in MEMBERS]


def status(layout: Layout, supervisor: Supervisor, probes: Probes, memories: processes.Memories) -> list[MemberStatus]:
    """All members as they are now. Never raises for one that does not answer."""
    try:
        supervised = supervisor.members()
    except NotRunningError:
        supervised = {}
    alive = {name: process for name in MEMBERS if (process := _process(layout, name)) is not None}
    states = {name: _state(supervised.get(name), alive.get(name)) for name in MEMBERS}
    asked = [name for name, state in states.items() if state in (State.RUNNING, State.STARTING)]
    answers = probes.ask(asked)
    ends = unexpected_ends(layout.supervisor_log)
    # supervisord calls a member STARTING for its first second; one that does its work is running.
    states.update({name: State.RUNNING for name, reason in answers.items() if not reason})
    families = processes.Families()
    used = {name: processes.usage(process, families, memories) for name, process in alive.items()}
    return [
        _member(
            name,
            states[name],
            _reason(name, states[name], answers, supervised),
            alive.get(name),
            ends[name],
            used.get(name),
        )
        for name in MEMBERS
    ]


def frozen(layout: Layout) -> list[str]:
    """The members that are held by SIGSTOP."""
    return [name for name in MEMBERS if (process := _process(layout, name)) and processes.is_frozen(process)]


def _process(layout: Layout, member: str) -> psutil.Process | None:
    note = processes.read_note(layout.pid_file(member))
    return note.process() if note else None


def _state(seen: Supervised | None, process: psutil.Process | None) -> State:
    if process is not None:
        if processes.is_frozen(process):
            return State.FROZEN
        return State.STARTING if seen is not None and seen.phase is Phase.STARTING else State.RUNNING
    if seen is None or seen.phase in (Phase.STOPPED, Phase.STOPPING):
        return State.STOPPED
    return State.STARTING if seen.phase is Phase.STARTING else State.CRASHED


def _reason(member: str, state: State, answers: dict[str, str], supervised: dict[str, Supervised]) -> str:
    if state is State.FROZEN:
        return "frozen"
    if state is State.STOPPED:
        return "stopped"
    if state is State.CRASHED:
        return f"ended by itself; {_what_follows(supervised[member])}"
    if member not in answers:
        return _NOT_STARTED
    return answers[member] if supervised else answers[member] or _UNSUPERVISED


def _what_follows(seen: Supervised) -> str:
    if seen.phase is Phase.FATAL:
        return "given up on, look at its log"
    if seen.phase is Phase.EXITED and seen.exit_status == 0:
        return "as somebody told it to, so nothing starts it again but you"
    return "about to be started again"


def _member(
    name: str, state: State, reason: str, process: psutil.Process | None, ends: Ends, told: processes.Usage | None
) -> MemberStatus:
    pid, started_at_s, used = None, None, processes.Usage(0.0, 0)
    with contextlib.suppress(psutil.Error):
        if process is not None and told is not None:
            started_at_s, used, pid = process.create_time(), told, process.pid
    return MemberStatus(
        name,
        state,
        ready=not reason,
        reason=reason,
        pid=pid,
        started_at_s=started_at_s,
        restarts=ends.count,
        exit_code=ends.exit_code,
        cpu_s=round(used.cpu_s, 2),
        memory_bytes=used.memory_bytes,
    )


def log_paths(layout: Layout, member: str) -> list[Path]:
    """The member's log files, oldest first: supervisord names the rotated ones `.1` (youngest), `.2`."""
    live = layout.log_file(member)
    rotated = [path for path in live.parent.glob(f"{live.name}.*") if path.suffix[1:].isdecimal()]
    oldest_first = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    return [*oldest_first, *([live] if live.exists() else [])]


def bootstrap(found: StackRecord) -> str:
    """The brokers, comma-separated, as the control room reaches them."""
    return ",".join(f"{HOST}:{found.ports[name]}" for name in BROKERS)


def kafka_settings(found: StackRecord) -> KafkaSettings:
    """How the control room talks to the brokers: every field given, so that nothing is read from its environment.

    Raises:
        StackError: the topic's name cannot be one, or its partitions no number of them.
    """
    try:
        return KafkaSettings(
            kafka_bootstrap_servers=bootstrap(found),
            kafka_security_protocol="PLAINTEXT",
            kafka_client=SecretStr(""),
            kafka_topic=found.topic,
            kafka_topic_partitions=found.settings.get("KAFKA_TOPIC_PARTITIONS") or 3,
            kafka_replication_factor=len(BROKERS),
            kafka_min_insync_replicas=len(BROKERS) - 1,
        )
    except ValidationError as error:
        raise StackError("; ".join(explain(error))) from error


def endpoints(found: StackRecord, password: str) -> Endpoints:
    """Where everything answers."""
    ports = found.ports
    base = {name: f"http://{HOST}:{ports[name]}" for name in ("nginx", *_METRICS)}
    return Endpoints(
        api_url=base["nginx"],
        replica_urls={name: base[name] for name in API_REPLICAS},
        merchant_url=base["merchant-server"],
        webhook_url=found.webhook_url,
        kafka_bootstrap=bootstrap(found),
        kafka_ports={name: ports[name] for name in BROKERS},
        kafka_topic=found.topic,
        kafka_group=found.settings.get("KAFKA_GROUP_ID") or GROUP_ID,
        postgres_conninfo=postgres.conninfo(ports["postgres"], found.postgres_user, password, found.postgres_db),
        metrics_urls={name: f"{base[name]}/metrics" for name in _METRICS},
        dispatcher_status_url=f"{base['dispatcher']}/status",
        ports={name: ports[name] for name in MEMBERS},
    )
