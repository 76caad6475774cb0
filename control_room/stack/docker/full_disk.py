"""A disk that is full for one member, done as on `local`: its processes may not make any file longer (RLIMIT_FSIZE).

A container cannot be given another limit while it lives, and its own processes need not have a program that sets one.
So an errand does: a container of the services' image for as long as that takes, without a capability, which sees the
member's processes and is of their user: the kernel lets a user lower and raise the limits of his own processes.

What ends by it would come back with its limit gone. So nothing brings it back until it is started, which sets the
limit again, or healed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import docker

from control_room.stack.docker import engine, views
from control_room.stack.docker.engine import Container
from control_room.stack.runtime import StackError

_LEDGER: Final = "/var/lib/bruce/merchant-ledger.jsonl"
_TORN_BYTES: Final = 200
"""What the merchant's ledger still takes: less than one of its lines."""
_UNLIMITED: Final = -1
_ERRAND_S: Final = 30
_SET_LIMITS: Final = """
import contextlib, os, resource, sys
limit, done, fresh = int(sys.argv[1]), {os.getpid()}, True
while fresh:
    found = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    fresh = found - done
    done |= found
    for pid in fresh:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if os.stat(f"/proc/{pid}").st_uid == os.getuid():
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if limit < 0 else limit, hard))
"""
"""Walks again for processes that were born meanwhile; those born later inherit the limit."""


def limit_of(client: docker.DockerClient, member: Container) -> int:
    """How long the member's files may still grow, in bytes: not at all, but for half a line of a ledger."""
    if member.member != "merchant-server":
        return 0
    made = client.api.exec_create(member.id, ["stat", "-c", "%s", _LEDGER])
    said = client.api.exec_start(made["Id"]).decode("utf-8", "replace").strip()
    return int(said) + _TORN_BYTES if said.isdecimal() else 0


def fill(client: docker.DockerClient, member: Container, image: str, limit_bytes: int) -> None:
    """Lets the member write nothing more, and stay down where it ends by it. Raises StackError."""
    _bring_back(client, member, wanted=False)
    _limit(client, member, image, limit_bytes)


def free(client: docker.DockerClient, member: Container, image: str) -> None:
    """Lets it write again. One that has ended meanwhile counts as crashed until it is started."""
    found = engine.inspected(client, member)
    if found is not None and found["State"]["Running"]:
        _limit(client, member, image, _UNLIMITED)
        _bring_back(client, member, wanted=True)


def started(client: docker.DockerClient, member: Container, image: str, limit_bytes: int | None) -> None:
    """What a start of the member entails: its disk is still full, or it comes back by itself from now on."""
    if limit_bytes is not None:
        _limit(client, member, image, limit_bytes)
        return
    found = engine.inspected(client, member)
    if found is not None and views.is_left_down(found):
        _bring_back(client, member, wanted=True)


def _bring_back(client: docker.DockerClient, member: Container, *, wanted: bool) -> None:
    policy: Any = {"Name": "unless-stopped" if wanted else "no"}  # its stubs know two of the four names
    client.api.update_container(member.id, restart_policy=policy)


def _limit(client: docker.DockerClient, member: Container, image: str, limit_bytes: int) -> None:
    user, group = views.owner_of(client, member.id)
    host: Mapping[str, Any] = client.api.create_host_config(
        pid_mode=f"container:{member.id}",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        network_mode="none",
    )
    made = client.api.create_container(
        image,
        entrypoint=["python", "-I", "-c", _SET_LIMITS, str(limit_bytes)],
        user=f"{user}:{group}",
        host_config=host,
        labels=engine.errand_of(member),
    )
    try:
        client.api.start(made["Id"])
        status = client.api.wait(made["Id"], timeout=_ERRAND_S)["StatusCode"]
        if status:
            said = client.api.logs(made["Id"], tail=1).decode("utf-8", "replace").strip()
            raise StackError(f"the files of {member.member} cannot be limited: {said or f'exit status {status}'}")
    finally:
        client.api.remove_container(made["Id"], force=True)
