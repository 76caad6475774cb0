"""Seeing whether a fault took effect: processes by pid and start time, ports by connecting, servers by asking them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from control_room.chaos.errors import FaultError
from control_room.stack.runtime import BROKERS, Endpoints, MemberStatus, Runtime

POLL_S: Final = 0.1
_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
START_TOLERANCE_S: Final = 2.0
"""Start times come from different clocks (ticks since boot, an engine's own): closer than this is the same process."""
ANSWER_TIMEOUT_S: Final = 1.0

# An SSLRequest: Postgres answers it with one byte before any login
# (https://www.postgresql.org/docs/current/protocol-message-formats.html).
_POSTGRES_QUESTION: Final = struct.pack(">ii", 8, 80877103)
# ApiVersions v0 without a client id (https://kafka.apache.org/protocol#The_Messages_ApiVersions).
_KAFKA_QUESTION: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_HTTP_QUESTION: Final = b"GET /healthz HTTP/1.0\r\nHost: bruce\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen after a fault was applied or healed."""

    ok: bool
    """Whether the effect was verified."""
    facts: dict[str, Any] = field(default_factory=dict)


def wait_for(look: Callable[[], Evidence], deadline_s: float, every_s: float = POLL_S) -> Evidence:
    """Looks until the evidence is there or `deadline_s` is over; the last look either way, with how long it took."""
    started_s = time.monotonic()
    while True:
        seen = look()
        waited_s = time.monotonic() - started_s
        if seen.ok or waited_s >= deadline_s:
            return Evidence(seen.ok, {**seen.facts, "after_ms": round(waited_s * 1000)})
        time.sleep(every_s)  # a process, a port, a server of others: none of them tells when it changes


def member_status(runtime: Runtime, name: str) -> MemberStatus:
    """The member as the runtime sees it. Raises FaultError where there is no such member."""
    for member in runtime.status():
        if member.name == name:
            return member
    raise FaultError(f"there is no member {name}")


def same_process(pid: int | None, started_at_s: float | None) -> psutil.Process | None:
    """The process that began at `started_at_s` under `pid`, where it still lives; a zombie does not."""
    if pid is None or started_at_s is None:
        return None
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        same = abs(process.create_time() - started_at_s) <= START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return None  # not ours to see: the runtime's own word has to do
    return process if alive and same else None


def is_new(now: MemberStatus, pid: int | None, started_at_s: float | None) -> bool:
    """Whether the member runs as another process than `pid`, which began at `started_at_s`.

    Another number is enough: the kernel tells when a process began in ticks of 10 ms, and two can begin in one.
    """
    if now.pid is None or now.started_at_s is None:
        return False
    return now.pid != pid or started_at_s is None or now.started_at_s > started_at_s + START_TOLERANCE_S


def all_stopped(process: psutil.Process) -> bool:
    """Whether `process` and all of its children are in state T, or the kernel has frozen their control group."""
    if _group_is_frozen(process.pid):
        return True
    try:
        tree = [process, *process.children(recursive=True)]
        return all(_is_stopped(each) for each in tree)
    except psutil.NoSuchProcess:
        return False


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True  # gone between listing and looking


def _group_is_frozen(pid: int) -> bool:
    """Whether the kernel says so of the process's control group: what an engine's pause is (cgroups(7), v1 and v2)."""
    try:
        for line in (_PROC / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if "freezer" in controllers.split(","):
                return (_CGROUPS / f"freezer{path}" / "freezer.state").read_text(encoding="utf-8").strip() == "FROZEN"
            if not controllers:
                return "frozen 1" in (_CGROUPS / path.lstrip("/") / "cgroup.events").read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass  # failure policy: closed, what cannot be read is no evidence
    return False


def port_of(endpoints: Endpoints, member: str) -> tuple[str, int] | None:
    """Where `member` listens: its port, or that of its metrics; None where it only dials out."""
    if member in endpoints.ports:
        return "127.0.0.1", endpoints.ports[member]
    url = urlsplit(endpoints.metrics_urls.get(member, ""))
    return (url.hostname, url.port) if url.hostname and url.port else None


def refuses(address: tuple[str, int]) -> bool:
    """Whether nothing listens there: connecting is refused. Silence is not a refusal."""
    try:
        socket.create_connection(address, ANSWER_TIMEOUT_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def question(member: str) -> bytes:
    """What the member answers without a login, in its own protocol."""
    if member in BROKERS:
        return _KAFKA_QUESTION
    return _POSTGRES_QUESTION if member == "postgres" else _HTTP_QUESTION


def answers(address: tuple[str, int], member: str, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Whether the member says anything when asked in its own protocol; an open port alone is the kernel's answer."""
    try:
        with socket.create_connection(address, timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(question(member))
            return bool(connection.recv(1))
    except OSError:
        return False
