"""Another container in the place of one: of the same settings but for a few, with the same name, labels and volumes.

What stands in its environment or is mounted cannot be changed while a container is there. Its labels are what Compose
goes by, which so takes the new one for its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import docker

from control_room.stack.docker import engine


def like(
    found: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    binds: Sequence[str] = (),
) -> dict[str, Any]:
    """The settings of a container as the engine told them, for another one.

    Args:
        found: the container.
        env: what its environment gets more, or otherwise.
        without: variables that it does not get.
        binds: all folders of this machine that it sees besides those of the compose file, as `FOLDER:INSIDE:ro`.
    """
    config = {key: value for key, value in found["Config"].items() if key != "Hostname"}  # that is the container's id
    kept = [entry for entry in config["Env"] if entry.partition("=")[0] not in {*without, *(env or {})}]
    config["Env"] = [*kept, *(f"{name}={value}" for name, value in (env or {}).items())]
    host = dict(found["HostConfig"])
    host["Binds"] = [*(bind for bind in host.get("Binds") or () if INSIDE not in bind), *binds]
    ends = {engine.network_of(found): {"Aliases": engine.names_in_network(found)}}
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": ends}}


def remove(client: docker.DockerClient, found: Mapping[str, Any]) -> None:
    """Deletes the container, and those of its volumes that have no name: the next one gets its own."""
    client.api.remove_container(found["Id"], v=True, force=True)


def create(client: docker.DockerClient, found: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Makes the container anew, not started; its id."""
    api: Any = client.api  # its stubs have no types for the next call
    return str(api.create_container_from_config(settings, found["Name"].lstrip("/"))["Id"])


INSIDE = "/run/bruce/clock"
"""Where a member finds what belongs to a clock of its own."""
