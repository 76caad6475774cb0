"""The proxy of the links as a container of the project: an instrument, no member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from control_room.stack.links.client import Links
from control_room.stack.links.names import DOORS
from control_room.stack.local.ports import HOST

SERVICE: Final = "links"
PORTS: Final = "LINKS_PORTS"
"""The variable of the compose file with the proxy's own port and those of the doors."""
CONTROL_PORT: Final = 18_200
"""Inside the container; the doors follow, in the order of DOORS."""


def of(found: Mapping[str, Any] | None) -> Links | None:
    """How the links are faulted; None where the stack has no such container, or it has no ports: it does not run."""
    published = {} if found is None else found["NetworkSettings"]["Ports"] or {}
    inside = [CONTROL_PORT + number for number in range(len(DOORS) + 1)]
    bindings = [published.get(f"{port}/tcp") for port in inside]
    if found is None or not all(bindings):
        return None
    control, *doors = [int(each[0]["HostPort"]) for each in bindings if each]
    return Links((HOST, control), dict(zip(DOORS, doors, strict=True)), relayed=True)


def leads_to_merchant(webhook_url: str) -> bool:
    """Whether the dispatcher delivers to the stack's own merchant, through its link or not."""
    door = CONTROL_PORT + 1 + DOORS.index("dispatcher:merchant-server")
    return webhook_url.startswith(("http://merchant-server:5001/", f"http://{SERVICE}:{door}/"))
