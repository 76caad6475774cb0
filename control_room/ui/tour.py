"""The guided tour: from an empty screen to a proven, exported run. It watches snapshots and presses nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from control_room.tracking.snapshot import Snapshot

if TYPE_CHECKING:  # the values are looked at; what reads them is not loaded for it
    from control_room.tracking.runs import RunSummary

_LATELY: Final = 5
"""Seconds in which payments must have arrived for a replay to be running: a short one is seen too."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done, and how it is seen that it was."""

    short: str
    title: str
    words: str
    """What to press: see `commands.hint`."""
    seen: Callable[[Snapshot, str], bool]
    """Whether the snapshot shows it, for the run of the tour."""


def _all_ready(now: Snapshot, _: str = "") -> bool:
    members = now.members.value
    return now.is_up and bool(members) and all(member.status.ready for member in members or ())


def _replaying(now: Snapshot, _: str) -> bool:
    run = now.run.value
    return run is not None and run.summary.verdict == "open" and any(now.pace.accepted[-_LATELY:])


def _broker_killed(now: Snapshot, _: str) -> bool:
    faults = now.faults.value
    return faults is not None and any(
        fault.name == "kill" and fault.target.startswith("kafka-") for fault in faults.running
    )


def _healed(now: Snapshot, _: str) -> bool:
    return now.faults.value is not None and not now.faults.value.running and _all_ready(now)


def _run(now: Snapshot, run_id: str) -> RunSummary | None:
    return next((run for run in now.runs.value or () if run.run_id == run_id), None)


def _proven(now: Snapshot, run_id: str) -> bool:
    run = _run(now, run_id)
    return run is not None and run.verdict == "proven"


def _exported(now: Snapshot, run_id: str) -> bool:
    run = _run(now, run_id)
    return run is not None and run.exported


STEPS: Final = (
    Step("up", "stack up", "{view_stack}, then {up}: starts all members", _all_ready),
    Step("replay", "replay running", "{replay}, then {replay_start}: sends the payments of a file", _replaying),
    Step("kill", "broker killed", "{view_stack}, j to a kafka-…, {kill}, then → and enter", _broker_killed),
    Step("heal", "healed", "{heal}: starts it again, and undoes every open fault", _healed),
    Step("verdict", "verdict green", "{view_reports}, then {verify}: drain, evidence, verdict", _proven),
    Step("report", "report exported", "{view_reports}, then {export}: HTML, JUnit, CSV and more", _exported),
)


class Tour:
    """How far it is. A step that was seen stays done, whatever happens later."""

    def __init__(self) -> None:
        self.done = 0
        """How many steps were seen."""
        self._run_id = ""

    @property
    def step(self) -> Step | None:
        """The one to be done now; None at the end."""
        return STEPS[self.done] if self.done < len(STEPS) else None

    def look(self, now: Snapshot) -> None:
        """Ticks off what `now` shows."""
        while (step := self.step) is not None and step.seen(now, self._run_id):
            if step.seen is _replaying and now.run.value is not None:
                self._run_id = now.run.value.summary.run_id
            self.done += 1
