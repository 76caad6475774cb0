"""What a member has logged since a moment: the evidence of a fault that shows in its own words only."""

from __future__ import annotations

from typing import Final

from control_room.stack.runtime import Runtime

_MOST_BYTES: Final = 4 * 1024 * 1024
"""More of a log is not looked through at a time."""


def log_size(runtime: Runtime, member: str) -> int:
    """How many bytes its live log holds now."""
    paths = runtime.log_paths(member)
    try:
        return paths[-1].stat().st_size if paths else 0
    except OSError:
        return 0


def logged_since(runtime: Runtime, member: str, offset: int) -> list[str]:
    """The lines of its live log from `offset` on; all of it where it was rotated meanwhile (it is shorter now)."""
    paths = runtime.log_paths(member)
    if not paths:
        return []
    try:
        with paths[-1].open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(offset if offset <= size else 0, size - _MOST_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
