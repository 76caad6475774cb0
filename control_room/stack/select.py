"""Which stack a command means: where its state lies, and what runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from control_room.stack.runtime import Runtime, StackError, StackSettingsError

EXTERNAL: Final = "BRUCE_EXTERNAL"
"""Names the configuration of a stack that runs elsewhere; the option `--external` sets it."""


def resolve_state_dir(given: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The state folder, absolute: `given` (by `--state`), else `BRUCE_STATE`, else `.bruce` in the working folder.

    A stack that runs elsewhere has one of its own: `.bruce-staging` for a configuration `staging.yaml`.
    """
    env = os.environ if environ is None else environ
    usual = f".bruce-{Path(env[EXTERNAL]).stem}" if env.get(EXTERNAL) else ".bruce"
    return Path(given or env.get("BRUCE_STATE") or usual).expanduser().absolute()


def open_runtime(name: str | None, state: Path, environ: Mapping[str, str] | None = None, **options: object) -> Runtime:
    """The runtime called `name` over a state folder; None: the one that BRUCE_EXTERNAL names, else what fits here.

    `options` are the runtime's own. Raises StackError for a runtime that does not exist (yet).
    """
    named = (os.environ if environ is None else environ).get(EXTERNAL)
    if name == "external" or (name is None and named):
        from control_room.stack.external import ExternalRuntime

        return ExternalRuntime(state, environ, **options)
    if named:
        raise StackSettingsError(f"{EXTERNAL} or --external names a stack elsewhere, --runtime {name} another one")
    if name in (None, "local"):
        from control_room.stack.local import LocalRuntime

        return LocalRuntime(state, environ, **options)  # type: ignore[arg-type]  # checked by the constructor itself
    if name == "docker":
        from control_room.stack.docker import DockerRuntime

        return DockerRuntime(state, environ, **options)  # type: ignore[arg-type]  # likewise
    raise StackError(f"there is no runtime {name!r}; there are local, docker and external")
