"""`open`: a run that is over, in the views of the control room."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from control_room.cli.context import Stop, explained, runs_folder
from control_room.exit_codes import USAGE
from control_room.runs.folders import NoRunError, find_run
from control_room.verify.files import RUN

_NAMED = 10


@click.command()
@click.argument("run", metavar="RUN", required=False)
@click.option("--state", "--state-dir", "state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`.")
def open(run: str | None, state: Path | None) -> None:  # noqa: A001 - a verb is found by its name
    """Look at RUN again, at any moment of it: the control room's views, with a time slider.

    RUN is a run's folder or id, or the beginning of one (default: the newest). No stack is needed, nothing is changed.
    """
    runs_dir = runs_folder(state)
    with explained():
        try:
            run_dir = find_run(runs_dir, run)
        except NoRunError as error:
            names = sorted((path.parent.name for path in runs_dir.glob(f"*/{RUN}")), reverse=True)
            if run is None or not names:
                raise
            more = f" and {len(names) - _NAMED} older" if len(names) > _NAMED else ""
            raise Stop(f"{error}; there are {', '.join(names[:_NAMED])}{more}", USAGE) from error
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Stop(f"open needs a terminal; without one: bruce-control report {run_dir.name}", USAGE)
    from control_room.runs.opened import OpenedRun
    from control_room.ui.keymap import keymap_path, read_keymap
    from control_room.ui.record_room import RecordRoom
    from control_room.ui.settings import read_settings, settings_path

    opened = OpenedRun(run_dir)
    opened.start()
    settings = read_settings(settings_path(), os.environ)
    table, wrong_keys = read_keymap(keymap_path())
    room = RecordRoom(opened, settings.theme, table, (*settings.problems, *wrong_keys))
    click.get_current_context().exit(room.run(mouse=settings.mouse) or 0)
