"""The views by name. Each is loaded when it is first wanted: the first screen waits for the one alone that it shows."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from control_room.ui.views.base import View


def load_view(name: str) -> type[View]:
    """The class of the view `name` (of `commands.VIEWS`), each in a module of its own name; any thread may call it."""
    module = import_module(f"control_room.ui.views.{name}")
    return cast("type[View]", getattr(module, f"{name.capitalize()}View"))
