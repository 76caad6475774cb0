"""Which stack a command means: where its state lies, and what runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from control_room.stack.runtime import RECORDS, Runtime, StackError

VARIABLE: Final = "BRUCE_RUNTIME"
_SOCKET: Final = "/var/run/docker.sock"


def resolve_state_dir(given: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The state folder, absolute: `given` (by `--state`), else `BRUCE_STATE`, else `.bruce` in the working folder."""
    env = os.environ if environ is None else environ
    return Path(given or env.get("BRUCE_STATE") or ".bruce").expanduser().absolute()


def open_runtime(name: str | None, state: Path, environ: Mapping[str, str] | None = None, **options: object) -> Runtime:
    """The runtime called `name` (None: the one that fits, see `choose`) over a state folder.

    `options` are the runtime's own. Raises StackError for a runtime that does not exist.
    """
    env = os.environ if environ is None else environ
    chosen, why = choose(name, state, env)
    if chosen == "local":
        from control_room.stack.local import LocalRuntime

        return LocalRuntime(state, environ, why=why, **options)  # type: ignore[arg-type]  # checked by the constructor
    from control_room.stack.docker import DockerRuntime

    return DockerRuntime(state, environ, why=why, **options)  # type: ignore[arg-type]  # likewise


def choose(name: str | None, state: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Which runtime, and why in words: the one asked for, else the one that has a stack there, else Docker's where an
    engine answers.

    Raises:
        StackError: `name` or BRUCE_RUNTIME is no runtime.
    """
    for asked, why in ((name, "asked for"), (environ.get(VARIABLE), f"{VARIABLE} asks for it")):
        if asked:
            if asked not in RECORDS:
                raise StackError(f"there is no runtime {asked!r}; there are {' and '.join(RECORDS)}")
            return asked, why
    for runtime, record in RECORDS.items():
        if (state / record).exists():
            return runtime, f"the stack of {state} is one"
    if not Path(_SOCKET).exists() and not environ.get("DOCKER_HOST"):  # no engine: known without loading its client
        return "local", "there is no Docker engine"
    from control_room.stack.docker.engine import without

    reason = without(environ)
    return ("local", reason) if reason else ("docker", "a Docker engine answers; --runtime local needs none")
