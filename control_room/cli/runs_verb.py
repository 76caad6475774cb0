"""`runs`: what has been run, and the end of what nobody needs any more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from control_room.cli.context import Stop, explained, json_option, narrate, print_json, runs_folder
from control_room.exit_codes import FAILED, USAGE
from control_room.runs.folders import find_run

_STATE = click.option(
    "--state", "--state-dir", "state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`."
)


@click.group()
def runs() -> None:
    """The runs of a state folder: list them, delete some."""


@runs.command("list")
@_STATE
@json_option
def list_runs(state: Path | None, as_json: bool) -> None:
    """The newest runs, the newest first."""
    from control_room.runs.remove import size_of
    from control_room.tracking.runs import RunsReader

    found = [(run, size_of(run.path)) for run in RunsReader(runs_folder(state)).read()]
    if as_json:
        print_json([_document(run, size.size_bytes) for run, size in found])
        return
    for run, size in found:
        click.echo(f"{run.run_id}  {run.verdict:<8}  {run.accepted:>9,} accepted  {size}  {run.what}")
    if not found:
        narrate(f"there is no run in {runs_folder(state)}")


@runs.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@_STATE
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(names: tuple[str, ...], state: Path | None, as_json: bool, yes: bool) -> None:
    """Delete runs, by id or the beginning of one, for good; never one that is still running."""
    from control_room.runs.remove import RemoveError, remove_run, size_of

    folder = runs_folder(state)
    with explained():
        chosen = list(dict.fromkeys(find_run(folder, name) for name in names))
    for run_dir in chosen:
        narrate(f"{run_dir.name}: {size_of(run_dir)}")
    if not yes and not _agreed(len(chosen)):
        raise Stop("nothing was deleted", FAILED)
    for run_dir in chosen:
        try:
            size = remove_run(folder, run_dir)
        except RemoveError as error:
            raise Stop(str(error), FAILED) from error
        if as_json:
            print_json({"run": run_dir.name, "files": size.files, "bytes": size.size_bytes})
        else:
            click.echo(f"deleted {run_dir.name}: {size}")


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise Stop("runs rm asks before it deletes; without a terminal say --yes", USAGE)
    return click.confirm(f"Delete {count} run{'s' * (count != 1)} for good?", err=True)


def _document(run: Any, size_bytes: int) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "folder": str(run.path),
        "began_at": run.at_s,
        "what": run.what,
        "verdict": run.verdict,
        "accepted": run.accepted,
        "delivered": run.delivered,
        "faults": run.faults,
        "bytes": size_bytes,
    }
