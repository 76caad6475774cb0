"""The disk is full for one member: not a byte more of its state gets written, and it is seen to say so."""

from __future__ import annotations

from typing import Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import MERCHANT
from control_room.chaos.live import LiveState
from control_room.chaos.member_faults import MemberFault
from control_room.chaos.member_log import log_size, logged_since
from control_room.chaos.observe import Evidence, member_status, wait_for
from control_room.chaos.preview import consequence
from control_room.stack.runtime import BROKERS, FillsDisks, Runtime, State

SEEN_DEADLINE_S: Final = 30.0
"""For the member to write, and fail. A merchant that nobody delivers to writes nothing: nothing is seen then."""
_ERRORS: Final = ("File too large", "No space left on device")
"""What the kernel tells the member, and what the member logs."""
_ERROR_CHARS: Final = 200
_POSTGRES: Final = "postgres"
_POSTGRES_TIMEOUT_S: Final = 2


class DiskFull(MemberFault):
    """`facts`, besides a process's: `log_from`, how long the member's log was; `limit_bytes`, what a file may reach."""

    name = "disk-full"
    summary = "lets the member write nothing more into its files, until healed; others still can"
    targets = (_POSTGRES, *BROKERS, MERCHANT)

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Not every runtime can, nor every platform."""
        if not isinstance(runtime, FillsDisks):
            return f"the runtime {runtime.name} cannot fill one member's disk"
        return runtime.disk_full_unavailable()

    def prepare(self, runtime: Runtime) -> None:
        """Remembers the process and where its log ends. Raises FaultError where the disk is full already."""
        super().prepare(runtime)
        if _able(runtime).disk_is_full(self.target):
            raise FaultError(f"the disk is full for {self.target} already; heal it first")
        self.facts["log_from"] = log_size(runtime, self.target)

    def preview(self, live: LiveState) -> str:
        """What it does without its disk, and what follows."""
        does = _DOES.get(self.target, "it halts at its next write, and again whenever it is started")
        follows = "" if self.target == MERCHANT else f": {consequence(self.target, live)}"
        return f"disk-full {self.target}: {does}{follows}"

    def apply(self, runtime: Runtime) -> None:
        """Fills it."""
        self.facts["limit_bytes"] = _able(runtime).fill_disk(self.target)

    def evidence(self, runtime: Runtime) -> Evidence:
        """Its log tells of a write that was refused for want of room."""

        def look() -> Evidence:
            if self.target == _POSTGRES:
                _commits(runtime)  # one that nobody pays to writes nothing by itself
            lines = logged_since(runtime, self.target, self.facts["log_from"])
            errors = [line for line in lines if any(words in line for words in _ERRORS)]
            facts = {"limit_bytes": self.facts["limit_bytes"], "errors": len(errors)}
            return Evidence(bool(errors), {**facts, "error": errors[0].strip()[:_ERROR_CHARS]} if errors else facts)

        return wait_for(look, SEEN_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Makes room, and starts the member where the want of it has ended it."""
        _able(runtime).free_disk(self.target)
        # Started by force: what brings it back waits longer and longer after each end.
        if member_status(runtime, self.target).state is State.CRASHED:
            runtime.restart([self.target])

    def healed(self, runtime: Runtime) -> Evidence:
        """It runs and answers, and Postgres commits; one that is down for another reason is that fault's to heal."""
        state = member_status(runtime, self.target).state
        if state is State.STOPPED:
            return Evidence(True, {"state": state.value})
        seen = self.running(runtime, must_be_new=False)
        if not seen.ok or self.target != _POSTGRES:
            return seen
        committed = wait_for(lambda: Evidence(_commits(runtime)), SEEN_DEADLINE_S)
        return Evidence(committed.ok, {**seen.facts, "commits": committed.ok})


_DOES: Final = {
    _POSTGRES: "it cannot write its log ahead and ends in a panic, again and again",
    MERCHANT: "it cannot write its ledger and answers 503, so every delivery fails: retries, re-queue, pause, probes",
}


def _able(runtime: Runtime) -> FillsDisks:
    if not isinstance(runtime, FillsDisks):
        raise FaultError(f"the runtime {runtime.name} cannot fill one member's disk")
    return runtime


def _commits(runtime: Runtime) -> bool:
    """Whether Postgres commits an empty transaction that has a number, for which it must write and sync."""
    import psycopg  # when needed: the list of faults loads no client

    try:
        with psycopg.connect(
            runtime.endpoints().postgres_conninfo, connect_timeout=_POSTGRES_TIMEOUT_S, autocommit=True
        ) as connection:
            connection.execute("SELECT pg_current_xact_id()")
    except psycopg.Error:
        return False
    return True
