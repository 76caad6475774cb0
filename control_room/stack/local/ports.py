"""The ports of a stack: preferred ones where they are free, others where not, and a clear error where a user chose."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from control_room.stack.links.names import API, KAFKA_CLIENTS, LINKS
from control_room.stack.local.layout import read_json
from control_room.stack.runtime import API_REPLICAS, BROKERS, RECORDS, StackError

HOST: Final = "127.0.0.1"
"""Everything listens on loopback only."""
_STEP: Final = 10
"""A taken port is followed by the one this much higher, so that a stack's ports keep their last digit."""
_LAST: Final = 32_000
"""Below the usual ephemeral ports: among those, any outgoing connection could take the port of a dead member."""


@dataclass(frozen=True, slots=True)
class PortGroup:
    """The ports that one variable sets."""

    variable: str
    names: tuple[str, ...]
    preferred: tuple[int, ...]


GROUPS: Final = (
    PortGroup("NGINX_PORT", ("nginx",), (8000,)),
    PortGroup("API_PORTS", API_REPLICAS, (8001, 8002, 8003)),
    PortGroup("MERCHANT_PORT", ("merchant-server",), (5001,)),
    PortGroup("POSTGRES_PORT", ("postgres",), (5432,)),
    PortGroup("PUBLISHER_METRICS_PORT", ("outbox-publisher",), (9101,)),
    PortGroup("DISPATCHER_METRICS_PORT", ("dispatcher",), (9102,)),
    PortGroup("KAFKA_EXTERNAL_PORTS", BROKERS, (19092, 19093, 19094)),
    PortGroup("KAFKA_INTERNAL_PORTS", tuple(f"{name}/internal" for name in BROKERS), (9091, 9092, 9093)),
    PortGroup("KAFKA_CONTROLLER_PORTS", tuple(f"{name}/controller" for name in BROKERS), (29091, 29092, 29093)),
)
"""Every port of a stack. A group of several takes a comma-separated list of exactly as many."""


def broker_port(broker: str, client: str) -> str:
    """The name of the port at which `broker` listens for what comes through the doors of `client`."""
    return f"{broker}/{client}"


def _link_groups() -> tuple[PortGroup, ...]:
    kafka = [
        group
        for number, client in enumerate(KAFKA_CLIENTS)
        for group in (
            _of_brokers(LINKS[f"{client}:kafka"], 19192 + 100 * number),
            _of_brokers(tuple(broker_port(broker, client) for broker in BROKERS), 19492 + 100 * number),
        )
    ]
    postgres = tuple(door for client in KAFKA_CLIENTS for door in LINKS[f"{client}:postgres"])
    return (
        PortGroup("", postgres, (15431, 15432, 15433)),
        PortGroup("", LINKS["dispatcher:merchant-server"], (15001,)),
        PortGroup("", LINKS[f"nginx:{API}"], (18001, 18002, 18003)),
        *kafka,
    )


def _of_brokers(names: tuple[str, ...], first: int) -> PortGroup:
    return PortGroup("", names, tuple(range(first, first + len(names))))


LINK_GROUPS: Final = _link_groups()
"""The further ports of a stack with links: a door per client and server, and a listener per client on each broker.
Nobody but the stack itself dials them, so no variable sets them."""


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` and it can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on `port`, in words: name and pid, or that it cannot be told."""
    try:
        for connection in psutil.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:2] == (port,):
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        pass
    return "a process that this user may not see"


def asked_for(environ: Mapping[str, str]) -> dict[str, int]:
    """The ports that the user set, by name.

    Raises:
        StackError: a variable that is not as many port numbers as it has ports, or one number twice.
    """
    chosen: dict[str, int] = {}
    for entry in GROUPS:
        text = environ.get(entry.variable, "").strip()
        if not text:
            continue
        parts = [part.strip() for part in text.split(",")]
        wanted = "a port number" if len(entry.names) == 1 else f"{len(entry.names)} port numbers, comma-separated"
        if len(parts) != len(entry.names) or not all(part.isdecimal() and 1 <= int(part) <= 65535 for part in parts):
            raise StackError(f"{entry.variable} must be {wanted} from 1 to 65535 (given: {text!r})")
        for name, part in zip(entry.names, parts, strict=True):
            if int(part) in chosen.values():
                raise StackError(f"{entry.variable}: port {part} is asked for twice")
            chosen[name] = int(part)
    return chosen


def variable_of(name: str) -> str:
    """The variable that sets the port called `name`."""
    return next(entry.variable for entry in GROUPS if name in entry.names)


def choose(
    asked: Mapping[str, int], kept: Mapping[str, int], others: Iterable[int] = (), *, links: bool = False
) -> dict[str, int]:
    """The port of every name: asked for, else kept from before, else preferred, else the next free one.

    Args:
        asked: what the user set; taken is an error.
        kept: what this stack had before.
        others: ports that belong to other stacks, running or not.
        links: whether the stack has links, which need ports too.

    Raises:
        StackError: a port that was asked for is taken; the message names it and who holds it.
    """
    for name, port in asked.items():
        if not is_free(port):
            raise StackError(f"port {port} ({variable_of(name)}) is taken by {holder(port)}; free it or choose another")
    chosen = dict(asked)
    reserved = set(others)
    for entry in (*GROUPS, *(LINK_GROUPS if links else ())):
        for name, preferred in zip(entry.names, entry.preferred, strict=True):
            if name in chosen:
                continue
            used = set(chosen.values())
            before = kept.get(name)
            if before is not None and before not in used and is_free(before):
                chosen[name] = before
            else:
                chosen[name] = _next_free(preferred, used | reserved)
    return chosen


def _next_free(preferred: int, avoid: set[int]) -> int:
    for port in range(preferred, _LAST, _STEP):
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"no free port was found from {preferred} up to {_LAST}; stop another stack first")


def registry_ports(registry: Path, own: Path) -> set[int]:
    """Ports of the other stacks that `registry` (one state folder per line) knows and that still have data."""
    try:
        folders = registry.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    found: set[int] = set()
    for folder in folders:
        if folder and Path(folder) != own:
            record = read_json(Path(folder) / RECORDS["local"]) or {}
            ports = record.get("ports", {})
            if isinstance(ports, dict):
                found.update(port for port in ports.values() if isinstance(port, int))
    return found
