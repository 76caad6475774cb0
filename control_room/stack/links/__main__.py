"""The proxy as a process: `python -m control_room.stack.links PLAN.json`. Ends with status 0 on SIGTERM.

The plan, in a file or as the argument itself: `{"socket": …, "modes": …, "doors": {NAME: {"port": …, "to": …}, …}}`.
`to` is a port, or `HOST:PORT`. In a container `"port": …` stands in the place of `socket`, and everybody may come in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from control_room.stack.links.control import Control
from control_room.stack.links.door import HOST, Door

log = logging.getLogger("links")
_ANY = "0.0.0.0"  # noqa: S104 - inside a container, which is published on loopback alone


async def run(plan: dict[str, Any]) -> int:
    """Serves until it is told to end; its exit status."""
    listen_host = _ANY if "port" in plan else HOST
    doors = {name: _door(name, where, listen_host) for name, where in plan["doors"].items()}
    for door in doors.values():
        try:
            door.open()
        except OSError as error:
            log.error("port %d (%s) cannot be listened on: %s", door.port, door.name, error.strerror)
            return 2
    control = Control(doors, Path(plan["modes"]))
    control.restore()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await control.serve((listen_host, plan["port"]) if "port" in plan else Path(plan["socket"]))
    log.info("%d doors are open", len(doors))
    await stop.wait()
    server.close()
    for door in doors.values():
        door.close()
    return 0


def main() -> None:
    """Reads the plan and serves."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two descriptors a connection
    given = sys.argv[1]
    plan = json.loads(given if given.startswith("{") else Path(given).read_text(encoding="utf-8"))
    if "socket" not in plan:
        sys.exit(uvloop.run(run(plan)))
    Path(plan["socket"]).unlink(missing_ok=True)  # of one that was killed
    status = uvloop.run(run(plan))
    Path(plan["socket"]).unlink(missing_ok=True)
    sys.exit(status)


def _door(name: str, where: dict[str, Any], listen_host: str) -> Door:
    host, _, port = str(where["to"]).rpartition(":")
    return Door(name, where["port"], int(port), host or HOST, listen_host)


if __name__ == "__main__":
    main()
