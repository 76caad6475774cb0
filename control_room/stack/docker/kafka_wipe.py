"""Kafka made anew on Docker: each broker's container and volume are replaced by empty ones, for another cluster.

The id is a setting of the container, so another container takes its place.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import Final

import docker
from docker.errors import NotFound

from control_room.stack.docker import engine, remake
from control_room.stack.docker.engine import Container
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import StackError

_KEPT: Final = "docker-kafka-cluster-id"
_DATA: Final = "/var/lib/kafka/data"
_CLUSTER_ID: Final = "CLUSTER_ID"
_PARTITION: Final = re.compile(r"data/.+-\d+")


def keep(layout: Layout, cluster_id: str) -> None:
    """Notes which cluster the volumes are of, for whoever makes the containers anew."""
    layout.state.mkdir(parents=True, exist_ok=True)
    (layout.state / _KEPT).write_text(f"{cluster_id}\n", encoding="ascii")


def kept(layout: Layout) -> dict[str, str]:
    """What Compose is to fill in for it; nothing where Kafka was never made anew."""
    path = layout.state / _KEPT
    return {"KAFKA_CLUSTER_ID": path.read_text(encoding="ascii").strip()} if path.exists() else {}


def forget(layout: Layout) -> None:
    """The volumes are gone."""
    (layout.state / _KEPT).unlink(missing_ok=True)


def replace(client: docker.DockerClient, broker: Container, cluster_id: str) -> int:
    """Deletes the broker's container and its data, and makes both anew, not started.

    Returns:
        How many copies of partitions the new one holds: 0, or the data was not deleted.

    Raises:
        StackError: its data lies in no volume of the project.
        APIError, RequestException: the engine refuses.
    """
    found = engine.inspected(client, broker)
    volumes = [
        each["Name"] for each in (found or {}).get("Mounts", ()) if each["Destination"] == _DATA and "Name" in each
    ]
    if found is None or not volumes:
        raise StackError(f"{broker.member} keeps its data in no volume, so nothing of it can be made anew")
    settings = remake.like(found, env={_CLUSTER_ID: cluster_id})
    remake.remove(client, found)
    labels = client.api.inspect_volume(volumes[0])["Labels"]
    client.api.remove_volume(volumes[0])
    client.api.create_volume(volumes[0], labels=labels)
    return _partitions_in(client, remake.create(client, found, settings))


def _partitions_in(client: docker.DockerClient, container_id: str) -> int:
    try:
        parts, _ = client.api.get_archive(container_id, _DATA)
    except NotFound:
        return 0
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        return sum(entry.isdir() and _PARTITION.fullmatch(entry.name) is not None for entry in archive)
