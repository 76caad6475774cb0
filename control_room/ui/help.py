"""The help page, from the table of commands."""

from __future__ import annotations

from collections.abc import Sequence

from control_room.ui.commands import VIEWS, Command
from control_room.ui.widget_commands import WIDGETS

_STATES = (
    "✓ no loss so far     everything accepted is delivered or its place is known",
    "… catching up        something waits, is dead-lettered, or was not found by the last look",
    "! unaccounted N      nobody knows where N payments are, for longer than a moment",
    "✗ LOST N             a finished run's verdict is invalid",
    "? unknown: why       the evidence is missing or old",
)


def help_lines(table: Sequence[Command], view: str) -> list[str]:
    """The keys of the view, of everywhere, of the other views; then what the verdict line says."""
    lines = _section(f"In this view: {VIEWS[view]}", [each for each in table if each.view == view])
    lines += _section("Everywhere", [each for each in table if not each.view])
    for place, title in WIDGETS.items():
        lines += _section(title, [each for each in table if each.view == place])
    for other, title in VIEWS.items():
        if other != view:
            lines += _section(title, [each for each in table if each.view == other])
    return [*lines, "", "The verdict line", *(f"  {words}" for words in _STATES)]


def _section(title: str, commands: Sequence[Command]) -> list[str]:
    lines = ["", title] if title else []
    for each in commands:
        lines.append(f"  {each.shown_keys:<6} {each.title:<14} {each.help}")
        if each.cli:
            lines.append(f"  {'':<6} {'':<14} = bruce-control {each.cli}")
    return lines
