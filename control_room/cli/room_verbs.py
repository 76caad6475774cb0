"""`tour`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from control_room import exit_codes
from control_room.cli.context import Stop


@click.command()
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`.")
@click.option("--read-only", is_flag=True, help="Only watch: somebody else does the steps.")
def tour(state: Path | None, read_only: bool) -> int:
    """Open the control room with a guided tour.

    From an empty screen to a proven, exported run: it tells the keys to press and ticks off what it sees happen.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Stop("the tour needs a terminal; without one `bruce-control demo` does the same", exit_codes.USAGE)
    from control_room.cli.room import open_room

    return open_room(state, read_only=read_only, tour=True)
