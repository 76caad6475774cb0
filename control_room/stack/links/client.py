"""Talking to the proxy: what the runtime offers to whoever faults links."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.stack.links.modes import Mode
from control_room.stack.runtime import StackError

_ANSWER_S: Final = 3.0


class LinksError(StackError):
    """The proxy does not answer, or refuses. The message says why."""


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one stack. Each method raises LinksError.

    Args:
        at: where the proxy answers: the path of its socket, or a host and a port.
        ports: where each door listens, by its name.
        relayed: whether whoever dials a door from here reaches something else first that takes every connection (the
            port that an engine publishes). One that the door refuses is then closed again at once.
    """

    at: Path | tuple[str, int]
    ports: Mapping[str, int]
    relayed: bool = False

    def state(self) -> dict[str, Any]:
        """Pid, start, CPU and memory of the proxy, and the state of every door (see `Door.state`)."""
        return self._ask({"ask": "state"})

    def set(self, doors: Sequence[str], mode: Mode) -> dict[str, Any]:
        """Puts `doors` into a mode, which is in force when this returns; the state after it."""
        return self._ask({"ask": "set", "doors": list(doors), "mode": mode.to_json()})

    def _connected(self) -> socket.socket:
        if isinstance(self.at, tuple):
            return socket.create_connection(self.at, _ANSWER_S)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_S)
            connection.connect(str(self.at))
        except OSError:
            connection.close()
            raise
        return connection

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._connected() as connection:
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as file:
                    answer = json.loads(file.readline())
        except (OSError, ValueError) as error:
            raise LinksError(
                f"the proxy of the links does not answer ({error}); `bruce-control up` starts it again"
            ) from error
        if "error" in answer:
            raise LinksError(str(answer["error"]))
        found: dict[str, Any] = answer
        return found
