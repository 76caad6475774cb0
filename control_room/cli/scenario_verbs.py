"""`scenario`, `storm` and `matrix`: their options. What they do is in `scenario_action`, loaded when called."""

from __future__ import annotations

from pathlib import Path

import click

from control_room.cli.context import explained, json_option, stack_options

_KEEP = click.option("--keep", is_flag=True, help="Leave the stack up afterwards.")
_SEED = click.option("--seed", type=click.IntRange(0), help="What is chosen by chance follows from it.")


@click.group()
def scenario() -> None:
    """Faults in an order, as files: list, show, check and run them."""


@scenario.command("list")
@json_option
def list_scenarios(as_json: bool) -> None:
    """The scenarios that ship, and what each proves."""
    from control_room.cli import scenario_action

    scenario_action.list_all(as_json)


@scenario.command("show")
@click.argument("name", metavar="NAME|FILE")
def show(name: str) -> None:
    """What a scenario does, step by step."""
    from control_room.cli import scenario_action

    with explained():
        scenario_action.show(name)


@scenario.command("lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def lint(files: tuple[Path, ...]) -> None:
    """Check files (default: those that ship) without running them; exit code 2 where one is wrong."""
    from control_room.cli import scenario_action

    scenario_action.lint(files)


@scenario.command("run")
@click.argument("name", metavar="NAME|FILE")
@stack_options
@json_option
@_SEED
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True)
@_KEEP
def run(
    name: str,
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    seed: int | None,
    repeat: int,
    keep: bool,
) -> None:
    """Run a scenario to its verdict. Starts a stack with compressed times where none is up.

    Exit code: the verdict's; where that is green, 1 for a step that did not come to pass.
    """
    from control_room.cli import scenario_action

    with explained():
        code = scenario_action.run(name, state, runtime_name, seed=seed, repeat=repeat, keep=keep, as_json=as_json)
    click.get_current_context().exit(code)


@click.command()
@stack_options
@json_option
@_SEED
@click.option("--faults", type=click.IntRange(1, 100_000), help="How many. [default: 20, or what fills --minutes]")
@click.option("--minutes", type=click.FloatRange(0.1, 10_000), help="How long it should last.")
@click.option("--rate", "rate_per_s", type=click.FloatRange(1, 5000), default=50.0, show_default=True)
@click.option("--links", is_flag=True, help="Fault links between members too.")
@_KEEP
def storm(
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    seed: int | None,
    faults: int | None,
    minutes: float | None,
    rate_per_s: float,
    links: bool,
    keep: bool,
) -> None:
    """Faults in an order that the seed decides; the same seed makes the same storm."""
    from control_room.cli import scenario_action

    with explained():
        code = scenario_action.storm(
            state,
            runtime_name,
            seed=seed,
            faults=faults,
            minutes=minutes,
            rate_per_s=rate_per_s,
            links=links,
            keep=keep,
            as_json=as_json,
        )
    click.get_current_context().exit(code)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@stack_options
@json_option
@_SEED
@click.option("--quick", is_flag=True, help="Only the scenarios that are marked quick.")
@click.option("--markdown", "markdown_to", type=click.Path(dir_okay=False, path_type=Path), help="Write the table.")
@click.option("--junit", "junit_to", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML.")
@_KEEP
def matrix(
    names: tuple[str, ...],
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    seed: int | None,
    quick: bool,
    markdown_to: Path | None,
    junit_to: Path | None,
    keep: bool,
) -> None:
    """Run scenarios (default: all that ship) and compare what became of the payments."""
    from control_room.cli import scenario_action

    with explained():
        code = scenario_action.matrix(
            names,
            state,
            runtime_name,
            seed=seed,
            quick=quick,
            markdown_to=markdown_to,
            junit_to=junit_to,
            keep=keep,
            as_json=as_json,
        )
    click.get_current_context().exit(code)
