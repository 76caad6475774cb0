"""The proxy of the links on the local runtime: under supervisord like a member, and none: it is an instrument."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from control_room.stack.links.client import Links, LinksError
from control_room.stack.links.names import DOORS, server_of
from control_room.stack.local import ports
from control_room.stack.local.layout import Layout, write_json
from control_room.stack.local.record import StackRecord
from control_room.stack.local.supervision import LINKS, Phase, Supervisor, last_lines
from control_room.stack.runtime import BROKERS, StackError

_START_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.05
_LOG_LINES: Final = 5


def of(layout: Layout, record: StackRecord) -> Links | None:
    """How the links of the stack are faulted; None where it has none."""
    if not record.links:
        return None
    return Links(layout.links_socket, {door: record.ports[door] for door in DOORS})


def command(layout: Layout) -> list[str]:
    """What runs the proxy. `-P`: nothing is imported from the working directory."""
    return [sys.executable, "-P", "-m", "control_room.stack.links", str(layout.links_plan)]


def configure(layout: Layout, record: StackRecord) -> None:
    """Writes which doors there are; every one of them passes."""
    doors: dict[str, Any] = {
        door: {"port": record.ports[door], "to": record.ports[_listener_behind(door)]} for door in DOORS
    }
    plan = {"socket": str(layout.links_socket), "modes": str(layout.links_modes), "doors": doors}
    write_json(layout.links_plan, plan)
    layout.links_modes.unlink(missing_ok=True)


def _listener_behind(door: str) -> str:
    """The name of the port that a door leads to: a broker has a listener per client."""
    client, server = door.partition(":")[0], server_of(door)
    return ports.broker_port(server, client) if server in BROKERS else server


def bring_up(layout: Layout, record: StackRecord, supervisor: Supervisor) -> None:
    """Starts the proxy of a stack that has links, where it is not up; returns when every door is open.

    It comes before the members: who finds a door closed would count its server as dead.

    Raises:
        StackError: a door's port is taken (the message names it and who holds it), or the proxy does not come up.
    """
    links = of(layout, record)
    if links is None or _answers(links):
        return
    if not supervisor.members()[LINKS].told_to_run:
        for door, port in links.ports.items():
            if not ports.is_free(port):
                raise StackError(
                    f"port {port} (link {door}) is taken by {ports.holder(port)}; free it, or `bruce-control down` "
                    "and `up --links` again to have another one chosen"
                )
        supervisor.start_member(LINKS)
    deadline = time.monotonic() + _START_S
    while not _answers(links):
        if time.monotonic() > deadline or supervisor.members()[LINKS].phase is Phase.FATAL:
            path = layout.log_file(LINKS)
            said = "\n".join(f"  {line}" for line in last_lines(path, _LOG_LINES)) or "  (nothing)"
            raise StackError(f"the proxy of the links does not come up. The end of its log, {path}:\n{said}")
        time.sleep(_LOOK_EVERY_S)


def _answers(links: Links) -> bool:
    try:
        links.state()
    except LinksError:
        return False
    return True
