"""`verify`, `check` and `report`."""

from __future__ import annotations

from pathlib import Path

import click

from control_room.cli.context import (
    Stop,
    explained,
    heal_left_behind,
    json_option,
    narrate,
    print_json,
    runs_folder,
    runtime_of,
    stack_options,
)
from control_room.exit_codes import FAILED
from control_room.runs.folders import find_run
from control_room.stack.select import resolve_state_dir
from control_room.verify import Arithmetic, Verdict, summary
from control_room.verify import check as check_files

DEFAULT_DEADLINE_S = 300.0


@click.command()
@click.argument("run", required=False)
@stack_options
@json_option
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(0),
    default=DEFAULT_DEADLINE_S,
    show_default=True,
    help="Seconds to wait for the drain.",
)
def verify(run: str | None, state: Path | None, runtime_name: str | None, as_json: bool, deadline_s: float) -> None:
    """Wait until everything of RUN has arrived, gather the evidence, give the verdict.

    RUN is a run's folder or id (default: the newest). Exit code: 0 proven, 10 invalid, 11 late, 12 unknown.
    """
    from control_room.cli.live_line import LiveLine
    from control_room.runs.prove import prove
    from control_room.runs.recording import Recording

    with explained(), LiveLine() as line:
        run_dir = find_run(runs_folder(state), run)
        runtime = runtime_of(state, runtime_name)
        endpoints = runtime.endpoints()
        heal_left_behind(runtime, state)

        def look(arithmetic: Arithmetic) -> None:
            share = arithmetic.delivered / arithmetic.accepted if arithmetic.accepted else 1.0
            line.show(arithmetic.line(), share)

        try:
            with Recording(runtime, resolve_state_dir(state), run_dir) as recording:
                verdict = prove(
                    endpoints,
                    run_dir,
                    deadline_s,
                    on_arithmetic=look,
                    narrate=line.say,
                    recording=recording,
                    where=runtime.endpoints,
                )
        except OSError as error:
            raise Stop(f"{run_dir} cannot be written to: {error.strerror}", FAILED) from error
    _tell(verdict, run_dir, as_json)


@click.command()
@click.argument("run", metavar="RUN_DIR", required=False)
@click.option("--state", "--state-dir", "state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`.")
@json_option
def check(run: str | None, state: Path | None, as_json: bool) -> None:
    """Give the verdict again from the files of a run alone: no stack is asked.

    RUN_DIR is a run's folder, or the id of one (default: the newest). Exit codes as `verify`.
    """
    from control_room.runs.prove import judge

    run_dir = _folder_of(run, state)
    try:
        verdict = judge(run_dir)
    except OSError as error:
        narrate(f"the verdict was not written down: {run_dir}: {error.strerror}")
        verdict = check_files(run_dir)
    _tell(verdict, run_dir, as_json)


@click.command()
@click.argument("run", metavar="RUN", required=False)
@click.option("--state", "--state-dir", "state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`.")
@json_option
@click.option(
    "--format",
    "formats",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    multiple=True,
    help="Write the tables as this too; CSV is always written. May be repeated.",
)
@click.option(
    "--compare", "pair", nargs=2, metavar="RUN_A RUN_B", help="Print two runs side by side instead; writes nothing."
)
def report(
    run: str | None, state: Path | None, as_json: bool, formats: tuple[str, ...], pair: tuple[str, str] | None
) -> None:
    """Write RUN's reports into its folder, from the files there alone, and say where they are.

    report.html, report.md, junit.xml, deliveries.csv, attempts.csv. RUN is a run's folder or id (default: the newest).
    """
    if pair is not None:
        if run is not None or formats:
            raise click.UsageError("--compare takes its two runs, and neither another RUN nor --format.")
        _compare(pair, state, as_json)
        return
    from control_room.reports import write_all
    from control_room.reports.tables import Format, MissingExtraError

    run_dir = _folder_of(run, state)
    try:
        paths = write_all(run_dir, [Format(name) for name in dict.fromkeys(formats) if name != "csv"])
    except MissingExtraError as error:
        raise Stop(str(error), FAILED) from error
    except OSError as error:
        raise Stop(f"{run_dir} cannot be written to: {error.strerror}", FAILED) from error
    if as_json:
        print_json({"run": run_dir.name, "report": str(paths[0]), "files": [str(path) for path in paths]})
    else:
        click.echo("\n".join(str(path) for path in paths))


def _compare(pair: tuple[str, str], state: Path | None, as_json: bool) -> None:
    """Both runs on stdout."""
    from control_room.reports.compare import compare

    found = compare(*(_folder_of(run, state) for run in pair))
    if as_json:
        print_json(found.to_json())
    else:
        click.echo(found.to_markdown())


def _folder_of(run: str | None, state: Path | None) -> Path:
    """A folder as it is given, however damaged, else the run that is meant."""
    if run is not None and Path(run).is_dir():
        return Path(run)
    with explained():
        return find_run(runs_folder(state), run)


def _tell(verdict: Verdict, run_dir: Path, as_json: bool) -> None:
    """The verdict on stdout, and its exit code."""
    if as_json:
        print_json({**verdict.to_json(), "folder": str(run_dir)})
    else:
        click.echo(summary(verdict, str(run_dir)))
    click.get_current_context().exit(verdict.exit_code)
