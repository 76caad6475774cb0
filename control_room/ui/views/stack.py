"""The members: what each does, what it costs, and what can be done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widgets import Static

from control_room.stack.runtime import State
from control_room.tracking.snapshot import Snapshot
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.chrome import duration
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.spark import spark

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.tracking.members import MemberView
LOOKS = {
    State.RUNNING: ("●", "good"),
    State.STARTING: ("◐", "warn"),
    State.FROZEN: ("❄", "info"),
    State.STOPPED: ("○", "dim"),
    State.CRASHED: ("✗", "bad"),
}
_FIRST = """
 No stack is up.

   {up}   start the stack: all eleven members, on this machine
   {demo}   the demo: start, replay, kill, heal, drain, prove that nothing was lost
   {replay}   replay a CSV file, once the stack is up
   {tour}   a guided tour through all of it
   {help}   every key
"""


class StackView(View):
    """View 1."""

    NAME = "stack"
    DEFAULT_CSS = """
    StackView #first { height: auto; border: round $accent; display: none; }
    StackView #members { height: 1fr; min-height: 6; }
    """

    def content(self) -> ComposeResult:
        """What to do first where nothing runs; the members."""
        yield Static(self.hint(_FIRST.strip("\n")), id="first", markup=False)
        columns: list[Column[MemberView]] = [
            Column("MEMBER", 16, lambda member: member.status.name),
            Column("STATE", 10, _state),
            Column("READY", 12, _ready, grows=True),
            Column("UPTIME", 7, lambda member: _uptime(member, self.snapshot.taken_at_s), right=True),
            Column("RST", 3, _restarts, right=True),
            Column("CPU", 4, _cpu, right=True),
            Column("MiB", 5, _memory, right=True),
            Column("CPU, A MINUTE", 20, lambda member: (spark(member.history, 20, 1.0), "info"), from_width=100),
            Column("PID", 7, lambda member: str(member.status.pid or "-"), right=True, from_width=110),
        ]
        members: LineList[MemberView] = LineList(
            columns, lambda member: member.status.name, id="members", empty="looking for the members", marks=True
        )
        members.add_class("pane")
        yield members

    def draw(self, snapshot: Snapshot) -> None:
        """The members, or what to do first."""
        part = snapshot.members
        members = part.value or ()
        nothing_runs = not snapshot.is_up and all(member.status.pid is None for member in members)
        self.query_one("#first").display = nothing_runs and bool(snapshot.number) and bool(snapshot.stack.error)
        found = self.query_one("#members", LineList)
        ready = sum(member.status.ready for member in members)
        memory = sum(member.status.memory_bytes for member in members) / 2**20
        found.border_title = f"Members: {ready} of {len(members)} ready, {memory:,.0f} MiB"
        found.border_subtitle = stale(part).replace("[", "(") or self.hint(
            "{list_mark} marks · {fault} faults · {logs_of} logs"
        )
        found.show(members)

    @property
    def chosen(self) -> list[str]:
        """The names of the marked members, else of the selected one."""
        return [member.status.name for member in self.query_one("#members", LineList).chosen]

    def do_up(self) -> None:
        """Starts the stack."""
        self.room.run_job("start the stack", "up", self.room.desk.up)

    def do_down(self) -> None:
        """Takes it down, after a question."""
        said = ["Every member ends in order. Data and runs are kept; what is not delivered waits until the next start."]
        self.room.ask(
            "Take the stack down?",
            said,
            [("down", "Take it down")],
            lambda _: self.room.run_job("take the stack down", "down", self.room.desk.down),
        )

    def do_demo(self) -> None:
        """Runs the demo."""
        self.room.run_job("demo", "demo --keep", self.room.desk.demo)

    def do_start(self) -> None:
        """Starts members."""
        self._hit("start", ask=False)

    def do_stop(self) -> None:
        """Ends members."""
        self._hit("stop")

    def do_restart(self) -> None:
        """Stops and starts members."""
        self._hit("restart")

    def do_kill(self) -> None:
        """Kills members."""
        self._hit("kill")

    def do_crash(self) -> None:
        """Kills members that come back."""
        self._hit("crash")

    def do_freeze(self) -> None:
        """Freezes members; thaws them where all of them are frozen."""
        members = self.query_one("#members", LineList).chosen
        frozen = bool(members) and all(member.status.state is State.FROZEN for member in members)
        self._hit("thaw" if frozen else "freeze", ask=not frozen)

    def do_fault(self) -> None:
        """Every fault of the selected member."""
        self.room.fault_menu(self.chosen)

    def do_logs_of(self) -> None:
        """To the logs."""
        self.room.show_logs(self.chosen)

    def _hit(self, fault: str, *, ask: bool = True) -> None:
        names = self.chosen
        if names:
            self.query_one("#members", LineList).marked.clear()
            self.room.fault(fault, names, {}, ask=ask)


def _state(member: MemberView) -> Cell:
    glyph, tone = LOOKS[member.status.state]
    return f"{glyph} {member.status.state.value}", tone


def _ready(member: MemberView) -> Cell:
    return ("yes", "good") if member.status.ready else (member.status.reason or "no", "bad")


def _uptime(member: MemberView, now_s: float) -> Cell:
    status = member.status
    return duration(now_s - status.started_at_s) if status.started_at_s and status.pid else "-"


def _restarts(member: MemberView) -> Cell:
    return str(member.status.restarts), "warn" if member.status.restarts else ""


def _cpu(member: MemberView) -> Cell:
    return "-" if member.cpu_share is None or member.status.pid is None else f"{member.cpu_share:.0%}"


def _memory(member: MemberView) -> Cell:
    return f"{member.status.memory_bytes / 2**20:.0f}" if member.status.pid else "-"
