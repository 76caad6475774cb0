"""Who this process is where nobody has told it: in a container, its service and its number among the replicas."""

from __future__ import annotations

import os
import re
import socket
from typing import Final

SETTING: Final = "MEMBER_SERVICE"
"""The service of a container, such as `dispatcher`; set by the compose file."""
_ALWAYS_NUMBERED: Final = frozenset({"ingestion-api"})
"""Of which there are several from the start. Of the others the first goes by the service's name alone."""
_NUMBERED: Final = re.compile(r".*[-_](\d{1,4})")
"""Compose names its containers PROJECT-SERVICE-NUMBER, and Docker's name server tells that name for an address."""


def own_name() -> str:
    """`ingestion-api-2` and the like in a container of a compose file, else the host's name.

    Failure policy: open. Where the number cannot be told the host's name takes its place: it is as unique.
    """
    host = socket.gethostname()
    service = os.environ.get(SETTING, "")
    if not service:
        return host
    number = _container_number(host)
    if number is None:
        return f"{service}-{host}"[:64]
    return service if number == 1 and service not in _ALWAYS_NUMBERED else f"{service}-{number}"


def _container_number(host: str) -> int | None:
    try:
        name, aliases, _ = socket.gethostbyaddr(socket.gethostbyname(host))
    except OSError:
        return None
    for candidate in (name, *aliases):
        if found := _NUMBERED.fullmatch(candidate.split(".")[0]):
            return int(found[1])
    return None
