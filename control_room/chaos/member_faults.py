"""Faults on a member's process: kill, stop, freeze, crash, restart; and thaw and start, which end some of them."""

from __future__ import annotations

from typing import ClassVar, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import Fault
from control_room.chaos.live import LiveState
from control_room.chaos.observe import (
    Evidence,
    all_stopped,
    answers,
    is_new,
    member_status,
    port_of,
    refuses,
    same_process,
    wait_for,
)
from control_room.chaos.preview import consequence
from control_room.stack.runtime import MEMBERS, MemberStatus, Runtime, State

END_DEADLINE_S: Final = 10.0
"""For a process to be gone after the runtime said so."""
START_DEADLINE_S: Final = 120.0
"""For a member to answer again: three brokers that start at once on two busy cores took 70 s."""
_DOWN: Final = (State.STOPPED, State.CRASHED)


class MemberFault(Fault):
    """What faults on a process share: who it was before."""

    targets: ClassVar[tuple[str, ...]] = MEMBERS
    refused_in: ClassVar[tuple[State, ...]] = _DOWN
    """States of the member in which the fault would hit nothing."""

    def prepare(self, runtime: Runtime) -> None:
        """Remembers pid and start time."""
        before = member_status(runtime, self.target)
        if before.state in self.refused_in:
            raise FaultError(f"{self.target} is {before.state.value} already: {self.name} would do nothing")
        process = same_process(before.pid, before.started_at_s)
        self.facts.update(
            pid=before.pid,
            started_at=before.started_at_s,
            state_before=before.state.value,
            pid_seen=process is not None,
        )

    def preview(self, live: LiveState) -> str:
        """The fault, its target and what follows."""
        return f"{self.name} {self.target}: {consequence(self.target, live)}"

    def heal(self, runtime: Runtime) -> None:
        """Starts the member where it is down, thaws it where it is frozen."""
        state = member_status(runtime, self.target).state
        if state in _DOWN:
            runtime.start([self.target])
        elif state is State.FROZEN:
            runtime.thaw([self.target])

    def healed(self, runtime: Runtime) -> Evidence:
        """Waits until it runs and answers."""
        return self.running(runtime, must_be_new=False)

    def ended(self, runtime: Runtime) -> Evidence:
        """Waits until its process is gone, its port refuses and the runtime says that it is down."""
        address = port_of(runtime.endpoints(), self.target)

        def look() -> Evidence:
            facts = {"pid": self.facts["pid"], "pid_gone": self._gone()}
            refused = address is None or refuses(address)
            if address is not None:
                facts["port_refused"] = refused
            if not (facts["pid_gone"] and refused):
                return Evidence(False, facts)
            state = member_status(runtime, self.target).state
            return Evidence(state in _DOWN, {**facts, "state": state.value})

        return wait_for(look, END_DEADLINE_S)

    def running(self, runtime: Runtime, *, must_be_new: bool) -> Evidence:
        """Waits until it runs (as another process than before, where asked) and answers in its own protocol."""

        def look() -> Evidence:
            # Asked at every look: a container that comes back may be published at another port.
            address = port_of(runtime.endpoints(), self.target)
            if address is not None and not answers(address, self.target):
                return Evidence(False, {"answers": False})
            now = member_status(runtime, self.target)
            new = self._is_new(now)
            facts = {"pid": now.pid, "started_at": now.started_at_s, "state": now.state.value, "new_process": new}
            if address is not None:
                facts["answers"] = True
            return Evidence(now.state is State.RUNNING and (new or not must_be_new), facts)

        return wait_for(look, START_DEADLINE_S)

    def _gone(self) -> bool:
        return same_process(self.facts.get("pid"), self.facts.get("started_at")) is None

    def _is_new(self, now: MemberStatus) -> bool:
        return is_new(now, self.facts.get("pid"), self.facts.get("started_at"))


class Kill(MemberFault):
    """`kill -9`; the member stays dead."""

    name = "kill"
    summary = "ends the member with kill -9; it stays dead until it is started or healed"
    refused_in = (State.STOPPED,)

    def apply(self, runtime: Runtime) -> None:
        """Kills it."""
        runtime.kill([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """Its process is gone, its port refuses."""
        return self.ended(runtime)


class Stop(MemberFault):
    """A clean end; the member stays down."""

    name = "stop"
    summary = "ends the member in order; it stays down until it is started or healed"
    refused_in = (State.STOPPED,)

    def apply(self, runtime: Runtime) -> None:
        """Stops it."""
        runtime.stop([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """Its process is gone, its port refuses."""
        return self.ended(runtime)


class Freeze(MemberFault):
    """SIGSTOP: the member lives, holds its connections, and does nothing."""

    name = "freeze"
    summary = "stops the member's processes with SIGSTOP; it keeps its connections and does nothing until thawed"
    refused_in = (*_DOWN, State.FROZEN)

    def apply(self, runtime: Runtime) -> None:
        """Freezes it."""
        runtime.freeze([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """All of its processes are in state T, and it says nothing when asked."""
        address = port_of(runtime.endpoints(), self.target)

        def look() -> Evidence:
            process = same_process(self.facts["pid"], self.facts["started_at"])
            stopped = process is not None and all_stopped(process)
            state = member_status(runtime, self.target).state
            # Where the engine's processes cannot be seen from here, the engine's word stands for the process state.
            frozen = state is State.FROZEN and (stopped or not self.facts.get("pid_seen"))
            facts = {"pid": self.facts["pid"], "state": state.value, "processes_stopped": stopped}
            if address is None or not frozen:
                return Evidence(frozen, facts)
            silent = not answers(address, self.target, 0.5)
            return Evidence(silent, {**facts, "no_answer": silent})

        return wait_for(look, END_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Thaws it; one that ended meanwhile is no longer frozen, and starting it is another fault's heal."""
        if member_status(runtime, self.target).state is State.FROZEN:
            runtime.thaw([self.target])

    def healed(self, runtime: Runtime) -> Evidence:
        """It is not frozen any more: it answers, or it is down for another reason."""
        state = member_status(runtime, self.target).state
        if state in _DOWN:
            return Evidence(True, {"state": state.value})
        return super().healed(runtime)


class Crash(MemberFault):
    """`kill -9` from outside: the supervision brings the member back."""

    name = "crash"
    summary = "ends the member with kill -9 as a crash would; it comes back by itself"
    lasting = False
    refused_in = (*_DOWN, State.FROZEN)

    def apply(self, runtime: Runtime) -> None:
        """Crashes it."""
        runtime.crash([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """It runs as another process, and answers."""
        return self.running(runtime, must_be_new=True)


class Restart(MemberFault):
    """A clean stop, then a start."""

    name = "restart"
    summary = "ends the member in order and starts it again"
    lasting = False
    closes = frozenset({"kill", "stop", "freeze"})
    refused_in = ()

    def apply(self, runtime: Runtime) -> None:
        """Restarts it."""
        runtime.restart([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """It runs as another process, and answers."""
        return self.running(runtime, must_be_new=True)


class Start(MemberFault):
    """Starts what is down: the end of a kill or a stop."""

    name = "start"
    summary = "starts a member that is down; ends a kill or a stop"
    lasting = False
    closes = frozenset({"kill", "stop"})
    refused_in = (State.RUNNING, State.STARTING, State.FROZEN)

    def preview(self, live: LiveState) -> str:
        """What starts."""
        del live
        return f"start {self.target}: it comes back and takes up its work"

    def apply(self, runtime: Runtime) -> None:
        """Starts it."""
        runtime.start([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """It runs as another process, and answers."""
        return self.running(runtime, must_be_new=True)


class Thaw(MemberFault):
    """SIGCONT: the end of a freeze."""

    name = "thaw"
    summary = "lets a frozen member go on; ends a freeze"
    lasting = False
    closes = frozenset({"freeze"})
    refused_in = (State.RUNNING, State.STARTING, *_DOWN)

    def preview(self, live: LiveState) -> str:
        """What wakes up."""
        del live
        return f"thaw {self.target}: it goes on where it was, not knowing that time has passed"

    def apply(self, runtime: Runtime) -> None:
        """Thaws it."""
        runtime.thaw([self.target])

    def evidence(self, runtime: Runtime) -> Evidence:
        """It runs and answers."""
        return self.running(runtime, must_be_new=False)
