"""`bruce-control` without a verb: opens the control room. Loaded only then, and Textual with it.

What gathers and what acts is loaded when the first screen stands there: it takes longer than the screen.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from control_room.cli.context import runtime_of
from control_room.stack.select import resolve_state_dir
from control_room.tracking.listing import Query
from control_room.tracking.parts import Part
from control_room.tracking.snapshot import Snapshot
from control_room.ui.app import ControlRoom
from control_room.ui.keymap import keymap_path, read_keymap
from control_room.ui.memory import Memory, memory_path
from control_room.ui.settings import read_settings, settings_path

if TYPE_CHECKING:  # loaded by a thread, see above
    from control_room.stack.runtime import Runtime
    from control_room.tracking.watch import Watch
    from control_room.ui.desk import StackDesk

_GARBAGE: Final = (5_000, 10, 30)
"""As `gc.set_threshold` takes them. With Python's own (700, 10, 10) a rush of rows and log lines, which stay, has all
objects gone through every 20 s: 50 to 85 ms in which no key is answered, half a per cent of a core with the rest."""


class LateWatch:
    """A Watch that is not there yet at first; until then its snapshots are empty."""

    def __init__(self, runtime: Callable[[], Runtime], state_dir: Path) -> None:
        """`runtime` makes it; called in the thread of `start`: what it needs takes as long to load as the screen."""
        self._runtime = runtime
        self._state_dir = state_dir
        self._watch: Watch | None = None
        self._error = ""
        self._query: Query | None = None

    def start(self) -> None:
        """Loads and starts it, in a thread."""
        threading.Thread(target=self._load, name="load-watch", daemon=True).start()

    def _load(self) -> None:
        """Failure policy: open. What keeps it from starting stands in every snapshot."""
        try:
            from control_room.chaos.catalogue import CATALOGUE
            from control_room.tracking.watch import Watch

            watch = Watch(
                self._runtime(),
                self._state_dir,
                lasting=lambda name: name not in CATALOGUE or CATALOGUE[name].lasting,
            )
            if self._query is not None:
                watch.ask(self._query)
            watch.start()
            self._watch = watch
        except Exception as error:  # noqa: BLE001 - shown: the screen must not stand there without a word
            self._error = f"gathering cannot start: {type(error).__name__}: {error}"

    def snapshot(self) -> Snapshot:
        """The newest."""
        if self._watch is not None:
            return self._watch.snapshot()
        return Snapshot(number=1, stack=Part(None, self._error)) if self._error else Snapshot()

    def ask(self, query: Query) -> None:
        """See Watch."""
        self._query = query
        if self._watch is not None:
            self._watch.ask(query)

    def hurry(self, *names: str) -> None:
        """See Watch."""
        if self._watch is not None:
            self._watch.hurry(*names)

    def stop(self) -> None:
        """Ends it; returns at once."""
        if self._watch is not None:
            self._watch.stop()


def open_room(state: Path | None, *, read_only: bool = False, tour: bool = False) -> int:
    """Runs the app until it is left; its exit code. What hangs then is left behind, in daemon threads."""
    state_dir = resolve_state_dir(state)
    settings = read_settings(settings_path(), os.environ)
    table, wrong_keys = read_keymap(keymap_path())
    memory = Memory(memory_path(state_dir)) if settings.remember else None

    @cache
    def runtime() -> Runtime:
        return runtime_of(state, None)

    def desk() -> StackDesk:
        from control_room.ui.desk import StackDesk

        return StackDesk(runtime(), state_dir, watch.snapshot)

    watch = LateWatch(runtime, state_dir)
    gc.disable()  # until the first screen: what is loaded is kept, and looking for garbage in it is a tenth of the time

    def painted() -> None:
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        gc.enable()
        watch.start()

    try:
        room = ControlRoom(
            watch,
            desk,
            table=table,
            read_only=read_only or settings.read_only,
            theme=settings.theme,
            view=settings.start_view,
            memory=memory,
            settings_file=settings_path(),
            problems=(*settings.problems, *wrong_keys),
            tour=tour,
            painted=painted,
        )
        return room.run(mouse=settings.mouse) or 0
    finally:
        watch.stop()
        if memory is not None:
            memory.settle()
