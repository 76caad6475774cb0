"""Who this process is where nobody has told it: in a container, its service and its number among the replicas."""

from __future__ import annotations

import os
import socket
import time
from typing import Final

SETTING: Final = "MEMBER_SERVICE"
"""The service of a container, such as `dispatcher`; set by the compose file."""
PROJECT: Final = "MEMBER_PROJECT"
"""The Compose project of that container; set by the compose file."""
_ALWAYS_NUMBERED: Final = frozenset({"ingestion-api"})
"""Of which there are several from the start. Of the others the first goes by the service's name alone."""
_LAST: Final = 64
"""The highest number that is asked for."""
_DEADLINE_S: Final = 5.0
"""A name that is not there is passed on to the machine's own name server, which may be slow to deny it."""


def own_name() -> str:
    """`ingestion-api-2` and the like in a container of a compose file, else the host's name.

    Failure policy: open. Where the number cannot be told the host's name takes its place: it is as unique.
    """
    host = socket.gethostname()
    service = os.environ.get(SETTING, "")
    if not service:
        return host
    number = _container_number(f"{os.environ.get(PROJECT, '')}-{service}", host)
    if number is None:
        return f"{service}-{host}"[:64]
    return service if number == 1 and service not in _ALWAYS_NUMBERED else f"{service}-{number}"


def _container_number(replicas: str, host: str) -> int | None:
    """Which of the containers PROJECT-SERVICE-NUMBER has this host's address, by Docker's own name server.

    Asked by name: the name of an address stands in the container's own /etc/hosts, where it is the container's id.
    """
    until_s = time.monotonic() + _DEADLINE_S
    own = _address(host)
    for number in range(1, _LAST + 1):
        if own is None or time.monotonic() > until_s:
            return None
        if _address(f"{replicas}-{number}") == own:
            return number
    return None


def _address(name: str) -> str | None:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None
