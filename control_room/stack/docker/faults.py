"""What is done to one container. Each raises what the engine's client raises."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Final

import docker
from docker.errors import APIError

from control_room.stack.docker import engine, views
from control_room.stack.docker.engine import Container

_PAUSE_TRIES: Final = 10
_PAUSE_AGAIN_S: Final = 0.1


def kill(client: docker.DockerClient, one: Container) -> None:
    """`docker kill` of one that runs: all of its processes; no restart policy brings them back."""
    found = engine.inspected(client, one)
    if found is not None and found["State"]["Running"]:
        client.api.kill(one.id, signal="SIGKILL")


def crash(client: docker.DockerClient, one: Container) -> None:
    """`kill -9` inside it: its restart policy brings it back."""
    # As the user of its processes: root in a container without CAP_KILL may end its own alone.
    user, _ = views.owner_of(client, one.id)
    made = client.api.exec_create(one.id, ["sh", "-c", "kill -9 -1"], user=user)
    with contextlib.suppress(APIError):  # the shell dies with the rest
        client.api.exec_start(made["Id"])


def freeze(client: docker.DockerClient, one: Container) -> None:
    """`docker pause`; again where the kernel did not get hold of every thread of a busy process in time."""
    for left in reversed(range(_PAUSE_TRIES)):
        try:
            client.api.pause(one.id)
        except APIError as error:
            if not left or "unable to freeze" not in str(error):
                raise
            time.sleep(_PAUSE_AGAIN_S)  # the engine has thawed it: its threads run on before the next try
        else:
            return


def thaw(client: docker.DockerClient, one: Container) -> None:
    """`docker unpause` of one that is paused."""
    found = engine.inspected(client, one)
    if found is not None and found["State"]["Paused"]:
        client.api.unpause(one.id)


def isolate(client: docker.DockerClient, one: Container) -> None:
    """`docker network disconnect` from every network it is in."""
    found = engine.inspected(client, one)
    for network in () if found is None else found["NetworkSettings"]["Networks"]:
        client.api.disconnect_container_from_network(one.id, network)


def rejoin(client: docker.DockerClient, one: Container) -> None:
    """`docker network connect` to its own network, under its names there, where it is in none."""
    found = engine.inspected(client, one)
    if found is not None and is_isolated(found):
        network = engine.network_of(found)
        client.api.connect_container_to_network(one.id, network, aliases=engine.names_in_network(found))


def is_isolated(found: Mapping[str, Any]) -> bool:
    """Whether the container is in no network."""
    return not found["NetworkSettings"]["Networks"]
