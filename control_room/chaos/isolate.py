"""A member cut off from all others at once, by silence: it lives, and no packet reaches it or leaves it."""

from __future__ import annotations

from control_room.chaos.errors import FaultError
from control_room.chaos.live import LiveState
from control_room.chaos.member_faults import END_DEADLINE_S, MemberFault
from control_room.chaos.observe import Evidence, answers, member_status, port_of, same_process, wait_for
from control_room.chaos.preview import consequence
from control_room.stack.runtime import Isolates, Runtime, State

_ANSWER_S = 0.5


class Isolate(MemberFault):
    """Takes the member off its network."""

    name = "isolate"
    summary = "takes the member off its network: it lives, and nothing reaches it or leaves it until healed"

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Not every runtime gives its members a network that one can be taken off."""
        if isinstance(runtime, Isolates):
            return None
        return (
            f"the members of the runtime {runtime.name} share one network, which none can be taken off; "
            "cut links instead: `bruce-control up --links`"
        )

    def prepare(self, runtime: Runtime) -> None:
        """Remembers the process. Raises FaultError where it is off its network already."""
        super().prepare(runtime)
        if _able(runtime).is_isolated(self.target):
            raise FaultError(f"{self.target} is off its network already; heal it first")

    def preview(self, live: LiveState) -> str:
        """What follows; the connections it has stay open, and tell nobody."""
        return f"isolate {self.target}: it lives, and is silent to all: {consequence(self.target, live)}"

    def apply(self, runtime: Runtime) -> None:
        """Takes it off."""
        _able(runtime).isolate(self.target)

    def evidence(self, runtime: Runtime) -> Evidence:
        """It is in no network by the engine's word, its process lives, and it does not answer."""
        able = _able(runtime)

        def look() -> Evidence:
            off = able.is_isolated(self.target)
            process = same_process(self.facts["pid"], self.facts["started_at"])
            # Where the engine's processes cannot be seen from here, its word stands for them.
            lives = process is not None or not self.facts["pid_seen"]
            address = port_of(runtime.endpoints(), self.target)
            silent = address is None or not answers(address, self.target, _ANSWER_S)
            facts = {"networks": 0 if off else 1, "process_lives": lives, "no_answer": silent}
            return Evidence(off and lives and silent, facts)

        return wait_for(look, END_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Puts it back."""
        _able(runtime).rejoin(self.target)

    def healed(self, runtime: Runtime) -> Evidence:
        """It answers again; one that is down for another reason is that fault's to heal."""
        state = member_status(runtime, self.target).state
        if state is State.STOPPED:
            return Evidence(not _able(runtime).is_isolated(self.target), {"state": state.value})
        return super().healed(runtime)


def _able(runtime: Runtime) -> Isolates:
    if not isinstance(runtime, Isolates):
        raise FaultError(f"the runtime {runtime.name} cannot take one member off its network")
    return runtime
