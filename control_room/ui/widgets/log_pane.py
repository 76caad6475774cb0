"""The newest lines of the logs, beside the list of transactions where the terminal has room for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from control_room.tracking.member_logs import LogLine
from control_room.ui.widgets.line_list import Cell, Column, LineList

TONES: Final = {"warning": "warn", "error": "bad", "critical": "bad", "debug": "dim"}
"""By level."""
Numbered: TypeAlias = tuple[int, LogLine]


class LogPane(LineList[Numbered]):
    """The pane: always at its newest line; nothing in it is chosen."""

    DEFAULT_CSS = "LogPane { scrollbar-size-vertical: 0; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        columns: list[Column[Numbered]] = [
            Column("", 8, lambda each: (each[1].ts[11:19], "dim")),
            Column("", 16, lambda each: (each[1].member, "info")),
            Column("", 20, _text, grows=True),
        ]
        super().__init__(columns, lambda each: str(each[0]), id=id, header=False, cursor=False, empty="no line fits")
        self.can_focus = False

    def show_newest(self, found: Sequence[Numbered]) -> None:
        """Draws them, the newest last and in sight."""
        self.show(found)
        self.index = len(found) - 1
        self._keep_in_sight()


def _text(each: Numbered) -> Cell:
    return each[1].text, TONES.get(each[1].level, "")
