"""Which stack a command means: where its state lies, and what runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from control_room.stack.runtime import Runtime, StackError


def resolve_state_dir(given: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The state folder, absolute: `given` (by `--state`), else `BRUCE_STATE`, else `.bruce` in the working folder."""
    env = os.environ if environ is None else environ
    return Path(given or env.get("BRUCE_STATE") or ".bruce").expanduser().absolute()


def open_runtime(name: str | None, state: Path, environ: Mapping[str, str] | None = None, **options: object) -> Runtime:
    """The runtime called `name` (None: the one that fits this machine) over a state folder.

    `options` are the runtime's own. Raises StackError for a runtime that does not exist (yet).
    """
    if name in (None, "local"):
        from control_room.stack.local import LocalRuntime

        return LocalRuntime(state, environ, **options)  # type: ignore[arg-type]  # checked by the constructor itself
    if name == "docker":
        from control_room.stack.docker import DockerRuntime

        return DockerRuntime(state, environ, **options)  # type: ignore[arg-type]  # likewise
    raise StackError(f"there is no runtime {name!r}; there are local and docker")
