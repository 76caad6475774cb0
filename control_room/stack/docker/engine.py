"""The engine: a client that answers or a sentence why not, and the containers of one project by member name."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from control_room.stack.runtime import MEMBERS, NotRunningError, StackError, alike

_TIMEOUT_S: Final = 20
_RESTART_S: Final = 120
_LOOK_EVERY_S: Final = 0.5
_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_NUMBER: Final = "com.docker.compose.container-number"
_ONE_OFF: Final = "com.docker.compose.oneoff"
_LOCAL: Final = "or use --runtime local, which needs no Docker"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of the project."""

    id: str
    member: str
    """Its service, with its number where there are several: `ingestion-api-2`, `dispatcher`, `dispatcher-2`."""
    project: str = ""
    seen: str = field(default="", compare=False)
    """What the engine's list says of it. While that stays, what it knows of the container has not changed."""


class EngineError(NotRunningError):
    """No engine that this user can use. The message has the way out."""


def connect(environ: Mapping[str, str]) -> docker.DockerClient:
    """A client whose engine has answered; `environ` may name another than this machine's in DOCKER_HOST.

    Raises:
        EngineError: there is no engine, or this user may not use it.
    """
    try:
        client = docker.from_env(timeout=_TIMEOUT_S, environment=dict(environ))
        client.ping()
    except (DockerException, requests.RequestException) as error:
        raise _explained(error) from error
    return client


def without(environ: Mapping[str, str]) -> str:
    """Why the docker runtime cannot be used, in a few words; empty where it can."""
    try:
        connect(environ).close()
        require_compose()
    except StackError as error:
        return str(error).partition(":")[0]
    return ""


def require_compose() -> None:
    """Raises EngineError where `docker compose` is not there."""
    if shutil.which("docker") is None:
        raise EngineError(f"there is no docker command on PATH: install Docker's command line, {_LOCAL}")
    asked = ["docker", "compose", "version"]
    done = subprocess.run(asked, capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise EngineError(
            f"`docker compose` does not answer: install the Compose plugin (docker-compose-plugin, or docker-compose "
            f"of your distribution), {_LOCAL}"
        )


def restart(client: docker.DockerClient, command: str) -> None:
    """Runs the command that restarts the engine, and waits until it answers. Raises StackError."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=_RESTART_S, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise StackError(f"`{command}` does not restart the engine: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise StackError(f"`{command}` ended with {done.returncode}: {' '.join(said)}")
    until_s = time.monotonic() + _RESTART_S
    while True:
        try:
            client.ping()
        except (DockerException, requests.RequestException) as error:
            if time.monotonic() > until_s:
                raise _explained(error) from error
            time.sleep(_LOOK_EVERY_S)  # it does not tell when it is ready
        else:
            return


def _explained(error: Exception) -> EngineError:
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return EngineError(
            f"this user may not use the Docker engine: add yourself to the group docker and log in again, {_LOCAL}"
        )
    if "Connection refused" in text or "FileNotFoundError" in text or "No such file" in text:
        return EngineError(
            f"no Docker engine answers: start it (`sudo systemctl start docker`, Docker Desktop), {_LOCAL}"
        )
    return EngineError(f"the Docker engine does not answer ({text}): look at it with `docker info`, {_LOCAL}")


def containers(client: docker.DockerClient, project: str) -> dict[str, Container]:
    """The project's containers, running or not, by member name; the proxy of the links is one. Raises StackError."""
    try:
        listed = client.api.containers(all=True, filters={"label": [f"{_PROJECT}={project}"]})
    except (APIError, requests.RequestException) as error:
        raise _explained(error) from error
    found = {}
    for one in listed:
        labels = one["Labels"]
        if labels.get(_ONE_OFF) == "True":
            continue
        member = member_of(labels[_SERVICE], int(labels.get(_NUMBER, "1")))
        found[member] = Container(one["Id"], member, project, _told(one))
    return found


def _told(one: Mapping[str, Any]) -> str:
    """State, health and age in words (`Up 5 seconds`), ports, networks."""
    networks = sorted(one.get("NetworkSettings", {}).get("Networks") or {})
    ports = sorted(f"{each.get('PublicPort')}:{each['PrivatePort']}" for each in one["Ports"])
    return " ".join([one["State"], one["Status"], *ports, *networks])


class Inspections:
    """What the engine knows of containers, asked again only where its list says something else than before.

    A container that came back says so by its age. Not asked again is one that comes back twice within a second, and
    that shows a second later. Safe from several threads: at worst one asks twice.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    def forget(self) -> None:
        """Something was done to containers."""
        self._known = {}

    def of(self, client: docker.DockerClient, container: Container) -> dict[str, Any] | None:
        """As `inspected`."""
        known = self._known.get(container.id)
        if known is not None and known[0] == container.seen:
            return known[1]
        found = inspected(client, container)
        if found is not None:
            self._known[container.id] = container.seen, found
        return found


def members(client: docker.DockerClient, project: str) -> dict[str, Container]:
    """Those of them that are members. Raises StackError."""
    return members_among(containers(client, project))


def members_among(found: Mapping[str, Container]) -> dict[str, Container]:
    """Those of `found` that are members; replicas that `--scale` has added are."""
    return {name: one for name, one in found.items() if alike(name) in MEMBERS}


def member_of(service: str, number: int) -> str:
    """The member's name: as the services name themselves, see `services.common.identity`."""
    if f"{service}-{number}" in MEMBERS:
        return f"{service}-{number}"
    return service if number == 1 else f"{service}-{number}"


def errand_of(member: Container) -> dict[str, str]:
    """Labels of a container that does something to a member and is gone again: `down` takes it, if it is left."""
    return {_PROJECT: member.project, _SERVICE: "errand", _ONE_OFF: "True"}


def network_of(found: Mapping[str, Any]) -> str:
    """The network that a container of the project was made for."""
    return str(found["HostConfig"]["NetworkMode"])


def names_in_network(found: Mapping[str, Any]) -> list[str]:
    """What the others call it there, besides the container's id."""
    return [found["Config"]["Labels"][_SERVICE], found["Name"].lstrip("/")]


def inspected(client: docker.DockerClient, container: Container) -> dict[str, Any] | None:
    """What the engine knows of it; None where it is gone. Raises StackError."""
    try:
        found: dict[str, Any] = client.api.inspect_container(container.id)
    except NotFound:
        return None
    except (APIError, requests.RequestException) as error:
        raise _explained(error) from error
    return found


@contextlib.contextmanager
def explained(member: str) -> Iterator[None]:
    """Raises StackError with a sentence for what the engine refuses of `member`."""
    try:
        yield
    except NotFound as error:
        raise StackError(f"the container of {member} is gone; start the stack with `bruce-control up`") from error
    except APIError as error:
        raise StackError(f"{member}: the engine refuses: {error.explanation or error}") from error
    except requests.RequestException as error:
        raise StackError(f"{member}: the engine does not answer: {error}") from error
