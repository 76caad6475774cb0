"""Which stack a command means: where its state lies, and what runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from control_room.stack.runtime import RECORDS, Runtime, StackError, StackSettingsError

VARIABLE: Final = "BRUCE_RUNTIME"
EXTERNAL: Final = "BRUCE_EXTERNAL"
"""Names the configuration of a stack that runs elsewhere."""
RUNTIMES: Final = (*RECORDS, "external")
_SOCKET: Final = "/var/run/docker.sock"


def resolve_state_dir(given: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The state folder, absolute: `given` (by `--state`), else `BRUCE_STATE`, else `.bruce` in the working folder.

    A stack that runs elsewhere has one of its own: `.bruce-staging` for a configuration `staging.yaml`.
    """
    env = os.environ if environ is None else environ
    usual = f".bruce-{Path(env[EXTERNAL]).stem}" if env.get(EXTERNAL) else ".bruce"
    return Path(given or env.get("BRUCE_STATE") or usual).expanduser().absolute()


def open_runtime(name: str | None, state: Path, environ: Mapping[str, str] | None = None, **options: object) -> Runtime:
    """The runtime called `name` (None: the one that fits, see `choose`) over a state folder.

    `options` are the runtime's own. Raises StackError for a runtime that does not exist.
    """
    env = os.environ if environ is None else environ
    chosen, why = choose(name, state, env)
    if chosen == "external":
        from control_room.stack.external import ExternalRuntime

        return ExternalRuntime(state, environ, why=why, **options)
    if chosen == "local":
        from control_room.stack.local import LocalRuntime

        return LocalRuntime(state, environ, why=why, **options)  # type: ignore[arg-type]  # checked by the constructor
    from control_room.stack.docker import DockerRuntime

    return DockerRuntime(state, environ, why=why, **options)  # type: ignore[arg-type]  # likewise


def choose(name: str | None, state: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Which runtime, and why in words: the one asked for, else the one that has a stack there, else Docker's where an
    engine answers.

    Raises:
        StackError: `name` or BRUCE_RUNTIME is no runtime, or another one than BRUCE_EXTERNAL asks for.
    """
    elsewhere = environ.get(EXTERNAL)
    for asked, why in ((name, "asked for"), (environ.get(VARIABLE), f"{VARIABLE} asks for it")):
        if asked:
            if asked not in RUNTIMES:
                raise StackError(f"there is no runtime {asked!r}; there are {', '.join(RUNTIMES)}")
            if elsewhere and asked != "external":
                raise StackSettingsError(
                    f"--external ({EXTERNAL}) names a stack elsewhere, --runtime ({VARIABLE}) asks for {asked}"
                )
            return asked, why
    if elsewhere:
        return "external", f"{elsewhere} names it"
    for runtime, record in RECORDS.items():
        if (state / record).exists():
            return runtime, f"the stack of {state} is one"
    if not Path(_SOCKET).exists() and not environ.get("DOCKER_HOST"):  # no engine: known without loading its client
        return "local", "there is no Docker engine"
    from control_room.stack.docker.engine import without

    reason = without(environ)
    return ("local", reason) if reason else ("docker", "a Docker engine answers; --runtime local needs none")
