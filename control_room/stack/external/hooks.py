"""Commands of the user's that do what a stack elsewhere does not let the control room do: one set for each fault."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from control_room.stack.external.config import HOOKABLE, Hook
from control_room.stack.runtime import HookRun

HOOK_PARTS: Final = ("apply", "heal", "evidence")
PLACE: Final = "{member}"
"""Stands in a command for the member's name."""


def words_of(command: str, folder: Path, target: str = PLACE) -> list[str]:
    """The command's words, its program found; `folder` is where it runs.

    Raises:
        ValueError: it cannot be read, or its program is not there. The message says which.
    """
    words = [word.replace(PLACE, target) for word in shlex.split(command)]
    if not words:
        raise ValueError("must be a command")
    place = str(folder / words[0]) if "/" in words[0] else words[0]
    program = shutil.which(place)
    if program is None:
        raise ValueError(f"there is no program {words[0]}")
    return [program, *words[1:]]


class Hooks:
    """The faults that one configuration has commands for."""

    def __init__(self, hooks: Mapping[str, Hook], folder: Path, environ: Mapping[str, str]) -> None:
        """`folder`: where the commands run; `environ`: their environment."""
        self._hooks = hooks
        self._folder = folder
        self._environ = dict(environ)

    def missing(self, fault: str) -> str | None:
        """Why there are none for this fault; None where there are."""
        if fault in self._hooks:
            return None
        if fault in HOOKABLE:
            return f"the stack runs elsewhere, and no commands are configured for it under hooks.{fault}"
        return "the stack runs elsewhere, and no command can do it there"

    def timeout_s(self, fault: str) -> float:
        """How long a command of it may take."""
        return self._hooks[fault].timeout_s

    def run(self, fault: str, part: str, target: str) -> HookRun:
        """Runs one command to its end, or ends it when its time is over."""
        hook = self._hooks[fault]
        try:
            words = words_of(getattr(hook, part), self._folder, target)
            done = subprocess.run(
                words,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=hook.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return HookRun(False, f"the command had not ended after {hook.timeout_s:g} s")
        except (OSError, ValueError) as error:
            return HookRun(False, f"the command cannot be run: {error}")
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1][:200]}" if lines else ""
        return HookRun(done.returncode == 0, f"the command ended with {done.returncode}{said}")
