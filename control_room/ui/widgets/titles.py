"""Titles of borders that are drawn when they change: Textual's own draws the whole widget each time one is set."""

from __future__ import annotations

from typing import Any, Final

from textual.content import ContentText
from textual.widget import Widget

_TEXTUALS: Final[dict[str, Any]] = {name: Widget.__dict__[name] for name in ("border_title", "border_subtitle")}


class QuietTitle:
    """Stands in a widget's class in place of `border_title` or `border_subtitle`."""

    def __set_name__(self, owner: type[Widget], name: str) -> None:
        """Which of the two it is."""
        self._textuals = _TEXTUALS[name]
        self._kept = f"_quiet_{name}"

    def __get__(self, widget: Widget | None, owner: type[Widget]) -> Any:
        """As Textual's."""
        return self if widget is None else self._textuals.__get__(widget, owner)

    def __set__(self, widget: Widget, title: ContentText | None) -> None:
        """As Textual's, where it is another than before."""
        if widget.__dict__.get(self._kept) != title:
            widget.__dict__[self._kept] = title
            self._textuals.__set__(widget, title)
