"""A wrong clock for one member, as on `local`: its container is made anew with libfaketime, which is told how far off.

The library is this machine's: an image of another C library cannot load it, and is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, Final

import docker

from control_room.stack.docker import engine, remake
from control_room.stack.docker.engine import Container
from control_room.stack.local import clocks
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import StackError

_MUSL: Final = ["sh", "-c", "ls /lib/ld-musl-* 2>/dev/null"]
_STOP_GRACE_S: Final = 15


def put_under(client: docker.DockerClient, one: Container, layout: Layout, environ: Mapping[str, str]) -> None:
    """Restarts the member under the library, its clock still right.

    Raises:
        StackError: the library is gone, or the member's image cannot load it.
    """
    library = clocks.libfaketime(environ)
    if library is None:
        raise StackError(f"libfaketime is gone; it was there a moment ago, or {clocks.SETTING} named it")
    asked = client.api.exec_create(one.id, _MUSL)
    if client.api.exec_start(asked["Id"]).strip():
        raise StackError(f"the image of {one.member} is built with musl, and {library} with another C library")
    folder = layout.state / "clocks"
    folder.mkdir(mode=0o755, exist_ok=True)
    copy = folder / library.name
    shutil.copy(library, copy)
    copy.chmod(0o755)
    clocks.write_offset(folder / f"{one.member}.offset", 0.0)
    env = clocks.variables(f"{remake.INSIDE}/{copy.name}", f"{remake.INSIDE}/{one.member}.offset")
    _remade(client, one, env=env, binds=[f"{folder}:{remake.INSIDE}:ro"])


def step(layout: Layout, member: str, offset_s: float) -> None:
    """Puts the clock of `member` that far off, within a second or two. Raises StackError."""
    try:
        clocks.write_offset(layout.state / "clocks" / f"{member}.offset", offset_s)
    except OSError as error:
        raise StackError(f"the clock of {member} cannot be stepped: {error}") from error


def is_under(variables: Mapping[str, str]) -> bool:
    """Whether a container of this environment runs under the library."""
    return variables.get(clocks.FILE, "").startswith(remake.INSIDE)


def release(client: docker.DockerClient, one: Container) -> None:
    """Restarts the member without the library; one that is down is made anew, and not started."""
    _remade(client, one, without=tuple(clocks.variables("", "")))


def _remade(client: docker.DockerClient, one: Container, **changes: Any) -> None:
    found = engine.inspected(client, one)
    if found is None:
        raise StackError(f"the container of {one.member} is gone; start the stack with `bruce-control up`")
    settings = remake.like(found, **changes)
    runs = found["State"]["Running"]
    if runs:
        client.api.stop(one.id, timeout=_STOP_GRACE_S)
    remake.remove(client, found)
    made = remake.create(client, found, settings)
    if runs:
        client.api.start(made)
