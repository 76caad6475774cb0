"""The tour's two lines: what was done, and what to press next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from control_room.ui.commands import Command, hint
from control_room.ui.tour import STEPS, Tour
from control_room.ui.widgets.chrome import Line

_LONG_FROM: Final = 110
"""Columns from which the steps' whole titles have room."""


class TourLine(Line):
    """Shown while the tour goes on."""

    DEFAULT_CSS = "TourLine { height: 2; display: none; background: $panel; }"

    def show(self, tour: Tour | None, table: Sequence[Command]) -> None:
        """Draws it, or takes it away."""
        self.display = tour is not None
        if tour is None:
            return
        long = (self.app.size.width or 80) >= _LONG_FROM
        pieces: list[tuple[str, str]] = [(" Tour ", "bold reverse"), (" ", "")]
        for number, step in enumerate(STEPS):
            glyph, style = ("✓", "$text-success") if number < tour.done else ("·", "$text-muted")
            if number == tour.done:
                glyph, style = "▸", "bold $text-accent"
            pieces.append((f" {glyph} {step.title if long else step.short} ", style))
        pieces.append((hint("  {tour} leaves", table), "$text-muted"))
        step_now = tour.step
        if step_now is None:
            words = "✓ done: a member died, and every payment is proven delivered"
        else:
            words = f"▸ press {hint(step_now.words, table)}"
        self.say(*pieces, (f"\n {words}", "bold"))
