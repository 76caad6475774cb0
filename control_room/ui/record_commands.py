"""The commands of a run that is looked at again: those of the time slider, beside those that read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from control_room.ui.commands import TABLE, Command
from control_room.ui.widget_commands import WIDGETS

SLIDER: Final = (
    Command("back", "left", "back", "The moment a second earlier.", footer=True),
    Command("on", "right", "on", "The moment a second later.", footer=True),
    Command("far_back", "shift+left", "10 back", "The moment ten seconds earlier."),
    Command("far_on", "shift+right", "10 on", "The moment ten seconds later."),
    Command("first", "home", "begin", "The first moment of the run."),
    Command("last", "end", "end", "The last moment of the run, with its verdict where it has one."),
    Command("moment", "t", "time", "Go to a time of day: 12:03:11.", footer=True),
    Command("play", "space", "play", "Let the time run, or halt it.", footer=True),
    Command("speed", "X", "1x/10x", "Play as fast as it was, or ten times as fast.", footer=True),
    Command("next_fault", "greater_than_sign", "next fault", "The moment of the next fault or heal.", footer=True),
    Command("previous_fault", "less_than_sign", "fault before", "The moment of the fault or heal before."),
)
POINTLESS: Final = frozenset(
    {
        "arm",
        "replay",
        "replay_preview",
        "replay_file",
        "replay_rate",
        "replay_speed",
        "replay_max",
        "replay_ids",
        "compare",
        "cancel",
        "freeze_drawing",
        "log_follow",
        "follow",
        "list_mark",
    }
)
"""Commands that change nothing, and serve nothing but what cannot be done in a record."""
RECORD_TABLE: Final = (*SLIDER, *TABLE)


def record_table(table: Iterable[Command]) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """The commands of a record with the keys of `table`, and what of those will not do here.

    Failure policy: open. Where one of them is a key of the time slider all keys are the default ones, and that is told.
    """
    own = tuple(table)
    moves = {key: each.id for each in SLIDER for key in each.keys}
    taken = [(key, each.id) for each in own if each.view not in WIDGETS for key in each.keys if key in moves]
    if not taken:
        return (*SLIDER, *own), ()
    words = ", ".join(f"key {key} of {name} is {moves[key]} here" for key, name in taken)
    return RECORD_TABLE, (f"{words}: the keys are the default ones while this run is open",)
