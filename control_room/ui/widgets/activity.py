"""The activity pane: what was done, with its command line, how far it is, and its error; and what faults were seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from control_room.tracking.faults_view import FaultLine
from control_room.tracking.snapshot import Snapshot
from control_room.ui.jobs import Job
from control_room.ui.widgets.chrome import clock, duration
from control_room.ui.widgets.line_list import Column, LineList

_GLYPHS: Final = {"running": "⟳", "cancelling": "⟳", "done": "✓", "failed": "✗", "cancelled": "-"}
_TONES: Final = {"running": "info", "cancelling": "warn", "done": "good", "failed": "bad", "cancelled": "dim"}
SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the pane."""

    at_s: float
    glyph: str
    tone: str
    words: str
    key: str
    order: tuple[float, int] = (0.0, 0)
    """Where it stands among the others."""


def entries(jobs: Sequence[Job], snapshot: Snapshot, *, every_line: bool = False) -> list[Entry]:
    """What happened, oldest first: jobs (with their sentences where asked for) and the lines of the journal."""
    found = [entry for job in jobs for entry in _of_job(job, every_line=every_line)]
    faults = snapshot.faults.value
    found += [_of_fault(number, line) for number, line in enumerate(faults.recent if faults else ())]
    found.sort(key=lambda entry: entry.order)
    return found[-SHOWN:]


def _of_job(job: Job, *, every_line: bool) -> Iterable[Entry]:
    state = job.state
    said = job.error or job.progress or (job.lines[-1] if job.lines else "")
    if state == "done" and not job.error:
        said = job.lines[-1] if job.lines else "done"
    share = f" {job.share:.0%}" if job.share is not None and state == "running" else ""
    # The command line stands first: it is what can be learned from and copied.
    what = f"bruce-control {job.command}" if job.command else job.title
    took_s = (job.ended_at_s or job.began_at_s) - job.began_at_s
    took = duration(took_s) if took_s else ""  # a note took no time
    words = f"{what}{share} {took}" if every_line else f"{what}{share} {took} {said}"
    at_s = job.ended_at_s or job.began_at_s
    order_s = job.ended_at_s or float("inf")  # what is still going on stands last
    text = " ".join(words.split())
    yield Entry(at_s, _GLYPHS[state], _TONES[state], text, f"job-{job.number}", (order_s, job.number * 1000))
    if every_line:
        lines = (*job.lines, *([job.progress] if job.progress and state == "running" else ()))
        toned = [(line, "dim") for line in lines] + [(line, "bad") for line in job.error.splitlines()]
        for number, (line, tone) in enumerate(toned, 1):
            order = order_s, job.number * 1000 + number
            yield Entry(at_s, " ", tone, f"    {line}", f"job-{job.number}-{number}", order)


def _of_fault(number: int, line: FaultLine) -> Entry:
    glyph, tone = ("!", "warn") if line.kind == "apply" else ("✓", "good") if line.ok else ("✗", "bad")
    return Entry(line.at_s, glyph, tone, line.words, f"fault-{number}-{line.at_s}", (line.at_s, 0))


class ActivityPane(LineList[Entry]):
    """The pane: always at its newest line."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        columns = (
            Column[Entry]("", 8, lambda entry: (clock(entry.at_s), "dim")),
            Column[Entry]("", 1, lambda entry: (entry.glyph, entry.tone)),
            Column[Entry]("", 10, lambda entry: (entry.words, entry.tone if entry.tone != "good" else ""), grows=True),
        )
        super().__init__(
            columns, lambda entry: entry.key, id=id, header=False, cursor=False, empty="nothing was done yet"
        )
        self.can_focus = False
        self.border_title = "Activity"

    def show_newest(self, found: Sequence[Entry]) -> None:
        """Draws them, the newest last and in sight."""
        self.show(found)
        self.index = len(found) - 1
        self._keep_in_sight()
