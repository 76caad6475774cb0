"""`bruce-control` without a verb: opens the control room. Loaded only then, and Textual with it."""

from __future__ import annotations

from pathlib import Path

from control_room.chaos.catalogue import CATALOGUE
from control_room.cli.context import runtime_of
from control_room.stack.select import resolve_state_dir
from control_room.tracking.watch import Watch
from control_room.ui.app import ControlRoom
from control_room.ui.desk import StackDesk


def open_room(state: Path | None, *, read_only: bool = False) -> int:
    """Runs the app until it is left; its exit code. What hangs then is left behind, in daemon threads."""
    runtime, state_dir = runtime_of(state, None), resolve_state_dir(state)
    watch = Watch(runtime, state_dir, lasting=lambda name: name not in CATALOGUE or CATALOGUE[name].lasting)
    watch.start()
    try:
        room = ControlRoom(watch, StackDesk(runtime, state_dir), read_only=read_only)
        return room.run() or 0
    finally:
        watch.stop()
