"""Faults on members that the control room does not own: applied, seen and healed by commands of the user's."""

from __future__ import annotations

from functools import cache
from typing import Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import Fault
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence, wait_for
from control_room.chaos.preview import consequence
from control_room.stack.runtime import MEMBERS, HooksFaults, Runtime

_LOOK_EVERY_S: Final = 1.0
"""A command that asks another machine is no light thing."""


class Hooked(Fault):
    """What takes the place of a fault's own ways where the runtime has commands for it."""

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Why there are no commands for it."""
        return _hooks(runtime).unhooked(cls.name)

    def prepare(self, runtime: Runtime) -> None:
        """Refuses a lasting fault whose effect is there already."""
        if self.lasting and _hooks(runtime).run_hook(self.name, "evidence", self.target).ok:
            raise FaultError(f"{self.name} {self.target} has its effect already: it would do nothing")
        self.facts["by"] = "hook"

    def preview(self, live: LiveState) -> str:
        """What the commands are for, and what follows."""
        follows = f": {consequence(self.target, live)}" if self.target in MEMBERS and self.lasting else ""
        return f"{self.name} {self.target} by the command that is configured for it{follows}"

    def apply(self, runtime: Runtime) -> None:
        """Runs the command `apply`."""
        self._run(runtime, "apply")

    def evidence(self, runtime: Runtime) -> Evidence:
        """Asks the command `evidence` until it says that the effect is there."""
        return self._asked(runtime, wanted=True)

    def heal(self, runtime: Runtime) -> None:
        """Runs the command `heal`."""
        self._run(runtime, "heal")

    def healed(self, runtime: Runtime) -> Evidence:
        """Asks the command `evidence` until it says that the effect is gone, and the member until it answers."""
        return self._asked(runtime, wanted=False)

    def _run(self, runtime: Runtime, part: str) -> None:
        ended = _hooks(runtime).run_hook(self.name, part, self.target)
        if not ended.ok:
            raise FaultError(f"{self.name}.{part} {self.target}: {ended.said}")

    def _asked(self, runtime: Runtime, *, wanted: bool) -> Evidence:
        hooks = _hooks(runtime)

        def look() -> Evidence:
            seen = hooks.run_hook(self.name, "evidence", self.target)
            facts = {"by": "hook", "effect": seen.ok, "said": seen.said}
            if seen.ok != wanted or wanted:
                return Evidence(seen.ok == wanted, facts)
            reasons = {each.name: each.reason for each in runtime.status()}
            reason = reasons.get(self.target, "")
            return Evidence(not reason, {**facts, **({"not_ready": reason} if reason else {})})

        return wait_for(look, hooks.hook_timeout_s(self.name), _LOOK_EVERY_S)


@cache
def hooked(kind: type[Fault]) -> type[Fault]:
    """The fault `kind`, done by commands."""
    return type(f"Hooked{kind.__name__}", (Hooked, kind), {})


def fitted(kind: type[Fault], runtime: Runtime) -> type[Fault]:
    """The fault `kind` as `runtime` can do it."""
    return hooked(kind) if isinstance(runtime, HooksFaults) else kind


def _hooks(runtime: Runtime) -> HooksFaults:
    assert isinstance(runtime, HooksFaults)  # noqa: S101 - `fitted` makes these for no other runtime
    return runtime
