"""Takes a picture of each view of the control room over a stack that runs, for the docs.

python -m scripts.pictures --state .bruce [--size 120x34] [--out docs/pictures]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control_room.chaos.catalogue import CATALOGUE
from control_room.stack.local import LocalRuntime
from control_room.tracking.watch import Watch
from control_room.ui.app import ControlRoom
from control_room.ui.desk import StackDesk

VIEWS: Final = ("stack", "transactions", "kafka", "chaos", "replay", "reports", "logs")
_SETTLE_S: Final = 20.0
_LOOK_S: Final = 0.25


async def take(room: ControlRoom, size: tuple[int, int], keep: Callable[[str, str], None]) -> None:
    """Goes through the views; `keep` takes each one's name and SVG."""
    async with room.run_test(size=size) as pilot:
        until_s = time.monotonic() + _SETTLE_S
        while not room.snapshot.is_up and time.monotonic() < until_s:
            await pilot.pause(_LOOK_S)
        for number, view in enumerate(VIEWS, 1):
            await pilot.press(str(number))
            await pilot.pause(3.0)  # a picture shows what was gathered by then; nothing is decided by it
            keep(view, room.export_screenshot(title=f"bruce-control ▸ {view}"))


def main() -> int:
    """Writes the pictures; 1 where no stack is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--state", type=Path, default=Path(".bruce"))
    parser.add_argument("--size", default="120x34")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    columns, lines = map(int, given.size.split("x"))
    runtime = LocalRuntime(given.state)
    watch = Watch(runtime, given.state, lasting=lambda name: name not in CATALOGUE or CATALOGUE[name].lasting)
    room = ControlRoom(watch, lambda: StackDesk(runtime, given.state, watch.snapshot), painted=watch.start)

    def keep(view: str, svg: str) -> None:
        path = given.out / f"room-{view}.svg"
        path.write_text(svg, encoding="utf-8")
        sys.stderr.write(f"{path}\n")

    try:
        asyncio.run(take(room, (columns, lines), keep))
    finally:
        watch.stop()
    return 0 if room.snapshot.is_up else 1


if __name__ == "__main__":
    sys.exit(main())
