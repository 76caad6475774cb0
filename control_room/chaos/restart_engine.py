"""The engine that runs the containers is restarted under them: every member ends at once and comes back by itself."""

from __future__ import annotations

from typing import ClassVar, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import Fault
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence, is_new, wait_for
from control_room.stack.runtime import MemberStatus, RestartsEngine, Runtime, State

ENGINE: Final = "engine"
BACK_DEADLINE_S: Final = 240.0
"""For everything to start at once on a small, busy machine."""
_LOOK_EVERY_S: Final = 1.0


class RestartEngine(Fault):
    """`facts`: `processes`, the pid of each member that ran and when that process had begun."""

    name = "restart-engine"
    summary = "restarts the engine that runs the containers; every member ends and comes back by itself"
    targets: ClassVar[tuple[str, ...]] = (ENGINE,)
    lasting = False

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """An engine has other users, so somebody must have said that this one may be restarted, and how."""
        if not isinstance(runtime, RestartsEngine):
            return f"the runtime {runtime.name} has no engine below its members"
        return runtime.engine_restart_unavailable()

    def prepare(self, runtime: Runtime) -> None:
        """Remembers who runs as what, since when. Raises FaultError where nobody does."""
        self.facts["processes"] = {one.name: (one.pid, one.started_at_s) for one in runtime.status() if _runs(one)}
        if not self.facts["processes"]:
            raise FaultError("no member runs: nothing would be hit")

    def preview(self, live: LiveState) -> str:
        """How many it ends."""
        del live
        return (
            f"restart-engine: all {len(self.facts['processes'])} members that run end at once and come back by "
            "themselves; nobody can pay meanwhile, and what was accepted is delivered afterwards"
        )

    def apply(self, runtime: Runtime) -> None:
        """Restarts it."""
        if not isinstance(runtime, RestartsEngine):
            raise FaultError(f"the runtime {runtime.name} has no engine below its members")
        runtime.restart_engine()

    def evidence(self, runtime: Runtime) -> Evidence:
        """Everybody who ran runs again, as another process."""
        before = self.facts["processes"]

        def look() -> Evidence:
            now = {one.name: one for one in runtime.status() if _runs(one)}
            again = [name for name, (pid, at_s) in before.items() if name in now and is_new(now[name], pid, at_s)]
            missing = sorted(set(before) - set(again))
            facts = {"restarted": len(again), "not_restarted": missing}
            return Evidence(not missing, facts)

        return wait_for(look, BACK_DEADLINE_S, _LOOK_EVERY_S)

    def heal(self, runtime: Runtime) -> None:
        """Starts who is down."""
        runtime.start([one.name for one in runtime.status() if one.state is State.STOPPED])

    def healed(self, runtime: Runtime) -> Evidence:
        """Everybody runs."""

        def look() -> Evidence:
            down = [one.name for one in runtime.status() if not _runs(one)]
            return Evidence(not down, {"down": down})

        return wait_for(look, BACK_DEADLINE_S, _LOOK_EVERY_S)


def _runs(member: MemberStatus) -> bool:
    return member.state is State.RUNNING
