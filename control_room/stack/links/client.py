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
        socket_path: where the proxy answers.
        ports: where each door listens, by its name.
    """

    socket_path: Path
    ports: Mapping[str, int]

    def state(self) -> dict[str, Any]:
        """Pid, start, CPU and memory of the proxy, and the state of every door (see `Door.state`)."""
        return self._ask({"ask": "state"})

    def set(self, doors: Sequence[str], mode: Mode) -> dict[str, Any]:
        """Puts `doors` into a mode, which is in force when this returns; the state after it."""
        return self._ask({"ask": "set", "doors": list(doors), "mode": mode.to_json()})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_ANSWER_S)
                connection.connect(str(self.socket_path))
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
