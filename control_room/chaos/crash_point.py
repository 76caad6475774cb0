"""Crash points as a fault: one member dies at a named line of its own code, and comes back by itself.

The lines and their exit codes are in `services.common.crash`; the stack must have been started with CRASH_POINTS=1.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.live import LiveState
from control_room.chaos.member_faults import END_DEADLINE_S, Crash
from control_room.chaos.observe import Evidence, member_status, wait_for
from control_room.durations import seconds
from control_room.stack.runtime import API_REPLICAS, Runtime
from services.common.crash import POINTS, SETTING, arm_file

WITHIN_S: Final = 60.0
"""For the member to reach its point, where nobody says another time."""
REBALANCE: Final = "dispatcher.in-rebalance"
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "api": API_REPLICAS,
    "publisher": ("outbox-publisher",),
    "dispatcher": ("dispatcher",),
}
"""Who has the points of each prefix."""


def members_of(point: str) -> tuple[str, ...]:
    """The members that have `point`. Raises FaultError: there is no such point."""
    if point not in POINTS:
        raise FaultError(f"there is no crash point {point}; there are {', '.join(POINTS)}")
    return _MEMBERS[point.partition(".")[0]]


class CrashPoint(Crash):
    """Arms one point in one member.

    `facts`, besides a process's: `point`; `within_s`, how long it may take until it is reached; `folder`, where it is
    armed; `restarts`, how often the member had ended by itself before.
    """

    name = "crash-point"
    summary = "ends the member at a named line of its code (the stack needs CRASH_POINTS=1); it comes back by itself"
    needs: ClassVar[Mapping[str, str]] = {SETTING: "1"}
    targets = tuple(member for members in _MEMBERS.values() for member in members)
    takes = True

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """The services have their crash points only where the stack was started so."""
        if runtime.crash_points() is not None:
            return None
        return (
            "the services have no crash points in this stack; take it down and start it with "
            "`CRASH_POINTS=1 bruce-control up`"
        )

    @classmethod
    def at(cls, target: str, params: Mapping[str, Any]) -> CrashPoint:
        """The fault at `params["point"]`, waiting `params["within"]` for it. Raises FaultError for other params.

        Of several points it is the one that `target` has: so members of different kinds can be armed at the same time.
        """
        given = {key: value for key, value in params.items() if value is not None}
        point, within = given.pop("point", None), given.pop("within", WITHIN_S)
        if isinstance(point, list):
            own = [one for one in point if target in members_of(str(one))]
            if len(own) != 1:
                raise FaultError(
                    f"{target} must have one of the crash points {', '.join(map(str, point))}; it has {len(own)}"
                )
            (point,) = own
        if given or point is None:
            raise FaultError("crash-point takes `point`, which it needs, and `within`, and nothing else")
        if target not in members_of(str(point)):
            raise FaultError(f"{target} has no crash point {point}; {', '.join(members_of(point))} has")
        try:
            within_s = seconds(within) if isinstance(within, str) else float(within)
        except (TypeError, ValueError) as error:
            raise FaultError(f"within: {error}") from error
        return cls(target, {"point": point, "within_s": within_s})

    def prepare(self, runtime: Runtime) -> None:
        """Remembers the process, and how often it had ended by itself."""
        super().prepare(runtime)
        self.facts.update(folder=str(runtime.crash_points()), restarts=member_status(runtime, self.target).restarts)
        if self._arm_file().exists():
            raise FaultError(f"{self.facts['point']} is armed in {self.target} already; heal it first")

    def preview(self, live: LiveState) -> str:
        """Where it dies, and when."""
        del live
        known = POINTS[self.facts["point"]]
        return (
            f"crash-point {self.facts['point']} in {self.target}: it dies {known.where}, as soon as {known.reached}; "
            "then it comes back by itself"
        )

    def apply(self, runtime: Runtime) -> None:
        """Arms it."""
        del runtime
        try:
            self._arm_file().touch()
        except OSError as error:
            raise FaultError(f"{self._arm_file()} cannot be made: {error.strerror}") from error

    def evidence(self, runtime: Runtime) -> Evidence:
        """It ended with the point's own exit code, and runs as another process and answers.

        A point that is not reached in time is disarmed again: nobody would be watching when it is.
        """
        with self._occasion(runtime) as occasion:

            def look() -> Evidence:
                occasion()
                return self._ended_there(runtime)

            ended = wait_for(look, self.facts["within_s"])
            if not ended.ok and not self._disarm():
                ended = wait_for(look, END_DEADLINE_S)
        if not ended.ok:
            return ended
        back = self.running(runtime, must_be_new=True)
        return Evidence(back.ok, {**ended.facts, **back.facts})

    def heal(self, runtime: Runtime) -> None:
        """Disarms it, and starts the member where it is down."""
        self._disarm()
        super().heal(runtime)

    def _ended_there(self, runtime: Runtime) -> Evidence:
        now, code = member_status(runtime, self.target), POINTS[self.facts["point"]].exit_code
        there = now.restarts > self.facts["restarts"] and now.exit_code == code
        facts: dict[str, Any] = {"point": self.facts["point"], "reached": there}
        return Evidence(there, {**facts, "exit_code": code} if there else facts)

    def _occasion(self, runtime: Runtime) -> Any:
        """What brings the point about where traffic alone does not; a function to be called now and then."""
        if self.facts["point"] != REBALANCE:
            return nullcontext(_nothing)
        from control_room.chaos.crash_point_rebalance import newcomer  # when needed: it loads the Kafka client

        return newcomer(runtime.endpoints())

    def _disarm(self) -> bool:
        """Whether it was still armed."""
        try:
            self._arm_file().unlink()
        except OSError:
            return False
        return True

    def _arm_file(self) -> Path:
        return arm_file(Path(self.facts["folder"]), self.target, self.facts["point"])


def _nothing() -> None:
    pass
