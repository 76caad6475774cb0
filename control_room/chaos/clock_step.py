"""One member's clock is set forward or back while it works, and set right again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.live import LiveState
from control_room.chaos.member_clock import clock_offset_s
from control_room.chaos.member_faults import MemberFault
from control_room.chaos.observe import Evidence, member_status, wait_for
from control_room.durations import seconds
from control_room.stack.runtime import MEMBERS, Runtime, State, StepsClocks

SEEN_DEADLINE_S: Final = 20.0
"""For the member to tell its new time: it looks at most a second later, and is asked until it answers."""
FURTHEST_S: Final = 86_400.0
"""Further than a day off Kafka's retention would be at work on what is not delivered yet: that loses by design."""
_NEAREST_S: Final = 10.0
_TOLERANCE_S: Final = 3.0
"""Most members tell whole seconds, and on a busy machine late."""
_STEP: Final = re.compile(r"([+-]) ?(\S.*)")


def step_s(text: str) -> float:
    """The seconds that a step such as `+1h`, `-90s` or `+500m` says. Raises ValueError with what can be said."""
    found = _STEP.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a step; one is such as +90s or -60m")
    off_s = seconds(found[2])
    if not _NEAREST_S <= off_s <= FURTHEST_S:
        raise ValueError(f"a step is {_NEAREST_S:g} s to {FURTHEST_S:g} s (given: {off_s:g} s)")
    return off_s if found[1] == "+" else -off_s


class ClockStep(MemberFault):
    """`facts`, besides a process's: `by_s`, seconds that the clock is put forward, or back where below zero."""

    name = "clock-step"
    summary = "restarts the member under libfaketime, then sets its clock forward or back while it works"
    targets = tuple(member for member in MEMBERS if member != "nginx")
    takes = True

    @classmethod
    def by(cls, target: str, params: Mapping[str, Any]) -> ClockStep:
        """The fault that steps by `params["by"]`. Raises FaultError for other params."""
        given = {key: value for key, value in params.items() if value is not None}
        by = given.pop("by", None)
        if given or by is None:
            raise FaultError("clock-step takes `by`, such as +90s or -60m, and nothing else")
        try:
            return cls(target, {"by_s": step_s(str(by))})
        except ValueError as error:
            raise FaultError(f"by: {error}") from error

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Not every runtime can, and it takes libfaketime."""
        if not isinstance(runtime, StepsClocks):
            return f"the runtime {runtime.name} cannot give one member another clock"
        return runtime.clock_step_unavailable()

    def prepare(self, runtime: Runtime) -> None:
        """Remembers the process. Raises FaultError where its clock is off already."""
        super().prepare(runtime)
        if _able(runtime).has_own_clock(self.target):
            raise FaultError(f"the clock of {self.target} is off already; heal it first")

    def preview(self, live: LiveState) -> str:
        """What steps, how far, and that it restarts first."""
        del live
        by_s = self.facts["by_s"]
        where = "forward" if by_s > 0 else "back"
        return f"clock-step {self.target}: restarted under libfaketime, then its clock goes {abs(by_s):g} s {where}"

    def apply(self, runtime: Runtime) -> None:
        """Restarts it under the library, waits until it works, and steps."""
        able = _able(runtime)
        able.give_own_clock(self.target)
        if not self.running(runtime, must_be_new=True).ok:
            raise FaultError(f"{self.target} does not work under libfaketime; look at its log")
        able.step_clock(self.target, self.facts["by_s"])

    def evidence(self, runtime: Runtime) -> Evidence:
        """Its own words tell a time that is so far off."""
        return self._off_by(runtime, self.facts["by_s"])

    def heal(self, runtime: Runtime) -> None:
        """Sets the clock right under the running member, then restarts it without the library.

        Failure policy: open. A member that is down, or does not tell its time, is set right by its next start.
        """
        able = _able(runtime)
        if able.has_own_clock(self.target):
            able.step_clock(self.target, 0.0)
            if member_status(runtime, self.target).state is State.RUNNING:
                self._off_by(runtime, 0.0)
            able.take_own_clock(self.target)

    def healed(self, runtime: Runtime) -> Evidence:
        """It answers and tells the right time; one that is down for another reason is that fault's to heal."""
        state = member_status(runtime, self.target).state
        if state is State.STOPPED:
            return Evidence(True, {"state": state.value})
        running = self.running(runtime, must_be_new=False)
        right = self._off_by(runtime, 0.0)
        return Evidence(running.ok and right.ok, {**running.facts, **right.facts})

    def _off_by(self, runtime: Runtime, wanted_s: float) -> Evidence:
        def look() -> Evidence:
            off_s = clock_offset_s(runtime, self.target)
            near = off_s is not None and abs(off_s - wanted_s) <= _TOLERANCE_S
            return Evidence(near, {"clock_off_s": None if off_s is None else round(off_s, 1)})

        return wait_for(look, SEEN_DEADLINE_S)


def _able(runtime: Runtime) -> StepsClocks:
    if not isinstance(runtime, StepsClocks):
        raise FaultError(f"the runtime {runtime.name} cannot give one member another clock")
    return runtime
