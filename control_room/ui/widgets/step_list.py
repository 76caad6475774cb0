"""The steps of a scenario, ticking off: what is done, what it waits for, what is still to come, what failed and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_room.tracking.text import harmless
from control_room.ui.widgets.chrome import clock, duration
from control_room.ui.widgets.line_list import Cell, Column, LineList

if TYPE_CHECKING:  # the values are drawn; what makes them is loaded when a scenario is run
    from control_room.tracking.steps import StepBoard, StepRow, Steps

_LOOKS = {
    "pending": ("· to come", "dim"),
    "running": ("⟳ running", "info"),
    "done": ("✓ done", "good"),
    "failed": ("✗ FAILED", "bad"),
    "skipped": ("- skipped", "dim"),
}


class StepList(LineList["StepRow"]):
    """The list; the cursor goes along with the step that runs, until it is moved."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        columns: list[Column[StepRow]] = [
            Column("#", 3, lambda row: str(row.number + 1), right=True),
            Column("STATE", 9, lambda row: _LOOKS.get(row.state, (str(row.state), ""))),
            Column("AT", 8, lambda row: (clock(row.began_at_s), "dim") if row.began_at_s else ""),
            Column("TOOK", 7, self._took, right=True),
            Column("STEP", 20, _words, grows=True),
        ]
        super().__init__(columns, lambda row: str(row.number), id=id, empty="no scenario was run yet")
        self.add_class("pane")
        self.board: StepBoard | Steps | None = None
        self._now_s = 0.0
        self._at = -1

    def draw(self, hint: str, now_s: float) -> None:
        """Shows how the steps stand at `now_s` (Unix)."""
        self._now_s = now_s
        if self.board is None:
            return
        rows = self.board.rows
        self.show(rows)
        ended = sum(row.state == "done" for row in rows)
        failed = any(row.state == "failed" for row in rows)
        self.border_title = harmless(f"{self.board.name}: {ended} of {len(rows)} steps done", 70).replace("[", "(")
        self.border_title += ", FAILED" if failed else ""
        self.border_subtitle = hint
        at = next((row.number for row in rows if row.state in ("running", "failed")), -1)
        if at >= 0 and at != self._at:
            self._at = at
            self.index = at
            self._keep_in_sight()

    def _took(self, row: StepRow) -> Cell:
        if row.began_at_s is None:
            return ""
        took_s = max(0.0, (row.ended_at_s or self._now_s) - row.began_at_s)
        return duration(took_s), "dim" if row.ended_at_s else "info"

    def lines(self) -> list[str]:
        """All of it in sentences, nothing cut."""
        return [_line(row) for row in (self.board.rows if self.board is not None else ())]


def _line(row: StepRow) -> str:
    state = _LOOKS.get(row.state, (str(row.state),))[0]
    at = f" at {clock(row.began_at_s)}" if row.began_at_s else ""
    return f"{row.number + 1}. {state}{at}: {row.words}" + (f": {row.why}" if row.why else "")


def _words(row: StepRow) -> Cell:
    if row.state == "failed":
        return f"{row.words}: {row.why}" if row.why else row.words, "bad"
    return row.words, "dim" if row.state in ("pending", "skipped") else ""
