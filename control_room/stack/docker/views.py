"""What a project of containers looks like from outside: state, cost, where everything answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import docker
import requests
from docker.errors import APIError
from pydantic import SecretStr

from control_room.stack.docker import link_proxy
from control_room.stack.local import postgres
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import (
    API_REPLICAS,
    BROKERS,
    Endpoints,
    MemberStatus,
    NotRunningError,
    StackError,
    State,
    alike,
)
from services.common.kafka import GROUP_ID
from services.common.settings import KafkaSettings

CONTAINER_PORTS: Final[Mapping[str, int]] = {
    "nginx": 8000,
    **dict.fromkeys(API_REPLICAS, 8000),
    "merchant-server": 5001,
    "postgres": 5432,
    "outbox-publisher": 9101,
    "dispatcher": 9102,
    **{broker: 19091 + number for number, broker in enumerate(BROKERS, 1)},
}
"""The port inside the container that is published for the control room."""
_STATES: Final = {
    "running": State.RUNNING,
    "paused": State.FROZEN,
    "restarting": State.CRASHED,
    "created": State.STOPPED,
    "exited": State.STOPPED,
    "removing": State.STOPPED,
    "dead": State.CRASHED,
}
_WHY: Final = {
    State.FROZEN: "frozen",
    State.STOPPED: "stopped",
    State.CRASHED: "ended by itself; about to be started again",
}
_METRICS: Final = (*API_REPLICAS, "outbox-publisher", "merchant-server", "dispatcher")


def port_of(member: str, found: Mapping[str, Any]) -> int | None:
    """The port of this machine at which the container answers; None while it has none."""
    inside = CONTAINER_PORTS.get(alike(member))
    bindings = (found["NetworkSettings"]["Ports"] or {}).get(f"{inside}/tcp") or []
    return int(bindings[0]["HostPort"]) if bindings else None


def variables(found: Mapping[str, Any]) -> dict[str, str]:
    """The environment that the container was made with."""
    return dict(entry.partition("=")[::2] for entry in found["Config"]["Env"] or ())


def state_of(found: Mapping[str, Any] | None) -> State:
    """The member's state; a container that is not there is a stopped member."""
    if found is None:
        return State.STOPPED
    state = _STATES.get(found["State"]["Status"], State.STOPPED)
    return State.CRASHED if state is State.STOPPED and is_left_down(found) else state


def is_left_down(found: Mapping[str, Any]) -> bool:
    """Whether nothing brings it back when it ends, as long as its disk is full: see `full_disk`."""
    return found["HostConfig"]["RestartPolicy"]["Name"] in ("", "no")


def member_status(
    client: docker.DockerClient,
    name: str,
    found: Mapping[str, Any],
    answer: str | None,
    usage: tuple[float, int],
    restarts: int,
) -> MemberStatus:
    """One member that has a container.

    Args:
        client: where it runs.
        name: the member's.
        found: what the engine knows of the container.
        answer: why it does not do its work, empty where it does, None where it was not asked.
        usage: its CPU-seconds and its memory in bytes.
        restarts: how often it came back by itself.
    """
    state = state_of(found)
    reason = _WHY.get(state, "") if answer is None else answer
    if state is State.CRASHED and is_left_down(found):
        reason = "ended by itself; its disk is full"
    alive = state in (State.RUNNING, State.FROZEN)
    cpu_s, memory_bytes = usage
    return MemberStatus(
        name,
        state,
        ready=not reason,
        reason=reason,
        pid=(found["State"]["Pid"] or None) if alive else None,
        started_at_s=_seconds(found["State"]["StartedAt"]) if alive else None,
        restarts=restarts,
        exit_code=last_exit(client, found) if restarts else None,
        cpu_s=round(cpu_s, 2),
        memory_bytes=memory_bytes,
    )


def unhealthy(found: Mapping[str, Any]) -> str | None:
    """Why the container does not do its work, by its own health check; None where it does not run."""
    if state_of(found) is not State.RUNNING:
        return None
    word = found["State"].get("Health", {}).get("Status", "healthy")
    return "" if word == "healthy" else str(word)


def owner_of(client: docker.DockerClient, container_id: str) -> tuple[str, str]:
    """The numbers of the user and the group that run the container's processes: not root's where there are others.

    Raises:
        APIError, RequestException: it does not run.
    """
    seen = client.api.top(container_id, ps_args="-eo pid,uid,gid")
    user, group = max(((row[1], row[2]) for row in seen["Processes"]), key=lambda owner: int(owner[0]))
    return user, group


def last_exit(client: docker.DockerClient, found: Mapping[str, Any]) -> int | None:
    """What the container ended with the last time it ended by itself, from the engine's events; None: not kept."""
    since_s = int(_seconds(found["Created"]) or 0)
    asked = {"container": found["Id"], "event": "die"}
    try:
        ends = list(client.api.events(since=since_s, until=int(time.time()), filters=asked, decode=True))
    except (APIError, requests.RequestException):
        return None
    return int(ends[-1]["Actor"]["Attributes"].get("exitCode", 0)) if ends else None


def _seconds(text: str) -> float | None:
    """Docker's time with its nine digits after the point, as Unix time; None for the year 1, which is its never."""
    if text.startswith("0001-"):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or '0'}")


def kafka_settings(ports: Mapping[str, int], environ: Mapping[str, str]) -> KafkaSettings:
    """How the control room talks to the brokers."""
    return KafkaSettings(
        kafka_bootstrap_servers=_bootstrap(ports),
        kafka_security_protocol="PLAINTEXT",
        kafka_client=SecretStr(""),
        kafka_topic=environ.get("KAFKA_TOPIC") or "payment-webhooks",
        kafka_topic_partitions=3,
        kafka_replication_factor=len(BROKERS),
        kafka_min_insync_replicas=len(BROKERS) - 1,
    )


def _bootstrap(ports: Mapping[str, int]) -> str:
    return ",".join(f"{HOST}:{ports[name]}" for name in BROKERS)


def endpoints(ports: Mapping[str, int], environ: Mapping[str, str], password: str) -> Endpoints:
    """Where everything answers. `environ`: what the services were started with.

    Raises:
        NotRunningError: a member never had a port.
    """
    missing = [name for name in CONTAINER_PORTS if name not in ports]
    if missing:
        raise NotRunningError(f"{', '.join(missing)} never ran; start the stack with `bruce-control up`")
    further = [name for name in ports if alike(name) != name]
    base = {name: f"http://{HOST}:{ports[name]}" for name in ("nginx", *_METRICS, *further)}
    return Endpoints(
        api_url=base["nginx"],
        replica_urls={name: url for name, url in base.items() if alike(name) in API_REPLICAS},
        merchant_url=base["merchant-server"],
        webhook_url=_seen_from_here(environ.get("WEBHOOK_URL", ""), base["merchant-server"]),
        kafka_bootstrap=_bootstrap(ports),
        kafka_ports={name: ports[name] for name in BROKERS},
        kafka_topic=environ.get("KAFKA_TOPIC") or "payment-webhooks",
        kafka_group=environ.get("KAFKA_GROUP_ID") or GROUP_ID,
        postgres_conninfo=postgres.conninfo(
            ports["postgres"], environ["POSTGRES_USER"], password, environ["POSTGRES_DB"]
        ),
        metrics_urls={name: f"{base[name]}/metrics" for name in (*_METRICS, *further)},
        dispatcher_status_url=f"{base['dispatcher']}/status",
        ports=dict(ports),
        relayed=True,
    )


def _seen_from_here(webhook_url: str, merchant_url: str) -> str:
    """The stack's own merchant goes by its published port, whatever the dispatcher calls it."""
    if not link_proxy.leads_to_merchant(webhook_url):
        return webhook_url
    return merchant_url + urlsplit(webhook_url).path


def secret_in(environ: Mapping[str, str], variable: str, project: str) -> str:
    """A secret that the members were started with: the variable's value, or what is in the file it names.

    Raises:
        StackError: it stands in a file that only the containers can read.
    """
    if value := environ.get(variable):
        return value
    raise StackError(
        f"the stack {project} was started with {variable}_FILE; name the file of this machine in {variable}_FILE"
    )
