"""Which links there are.

A link leads from a client to a server, and has one door (a listening port) per member that serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from control_room.stack.runtime import API_REPLICAS, BROKERS

API: Final = "ingestion-api"
"""All replicas together: they share their doors."""
KAFKA_CLIENTS: Final = (API, "outbox-publisher", "dispatcher")
"""Each gets a listener of its own on every broker, which advertises that client's door."""


def door_name(client: str, server: str) -> str:
    """What the door of `client` to the member `server` is called."""
    return f"{client}:{server}"


def _doors(client: str, servers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(door_name(client, server) for server in servers)


LINKS: Final[Mapping[str, tuple[str, ...]]] = {
    **{door_name(client, "postgres"): _doors(client, ("postgres",)) for client in KAFKA_CLIENTS},
    **{door_name(client, "kafka"): _doors(client, BROKERS) for client in KAFKA_CLIENTS},
    door_name("dispatcher", "merchant-server"): _doors("dispatcher", ("merchant-server",)),
    door_name("nginx", API): _doors("nginx", API_REPLICAS),
}
"""The doors of each link, by the link's name."""
DOORS: Final = tuple(door for doors in LINKS.values() for door in doors)
NAMES: Final = (*LINKS, *(door for door in DOORS if door not in LINKS))
"""What may be named: a whole link, or one of its doors (`dispatcher:kafka-2`)."""


def doors_of(name: str) -> tuple[str, ...]:
    """The doors that a name of `NAMES` stands for."""
    return LINKS.get(name, (name,))


def server_of(door: str) -> str:
    """The member behind a door."""
    return door.partition(":")[2]
