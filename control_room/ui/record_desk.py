"""What can be asked of a run that is over; all that would change something says why it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from control_room.replay.progress import Progress
from control_room.reports.contents import gather_contents
from control_room.reports.curves import Curves
from control_room.runs.background import BackgroundReplay
from control_room.runs.opened import OpenedRun
from control_room.tracking.timeline import Timeline
from control_room.tracking.transactions import TransactionRow
from control_room.verify import Verdict, check


def why_not(run_id: str) -> str:
    """Why nothing can be done here."""
    return (
        f"run {run_id} is over, and its record cannot be changed; bruce-control without `open` shows what goes on now"
    )


class RecordDesk:
    """A Desk that reads."""

    def __init__(self, opened: OpenedRun) -> None:
        self._opened = opened
        self.state_dir = opened.run_dir.parent.parent
        self.replay: BackgroundReplay | None = None

    @property
    def progress(self) -> Progress | None:
        """How the sending stood at the moment; None before the run was read."""
        return self._opened.progress

    def story(self, transaction_id: str) -> Timeline:
        """The timeline of one transaction until the moment."""
        return self._opened.story(transaction_id)

    def find(self, text: str) -> TransactionRow:
        """The transaction whose id begins so."""
        return self._opened.find(text)

    def check(self, run: Path) -> Verdict:
        """The verdict from files; nothing is written."""
        return check(run)

    def curves(self, run: Path, verdict: Verdict) -> Curves:
        """How the run went over its time, from its files."""
        return gather_contents(run, verdict).curves

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(why_not(self._opened.run_dir.name))

    up = down = preview = apply = unavailable = heal = survey = send = redeliver = _refuse
    verify = size = remove = export = compare = demo = scenario = _refuse
