"""What `scenario`, `storm` and `matrix` do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

import dataset
from control_room.cli.context import Stop, explained, heal_left_behind, print_json, quick_environment, runtime_of
from control_room.cli.demo_verb import stack_for
from control_room.cli.live_line import LiveLine
from control_room.exit_codes import FAILED, USAGE
from control_room.replay.options import new_seed
from control_room.scenarios import matrix as tables
from control_room.scenarios import storm as storms
from control_room.scenarios.model import Scenario, ScenarioError, find, load, shipped
from control_room.scenarios.needs import needs_of_all
from control_room.scenarios.result import (
    UNAVAILABLE,
    AnyResult,
    BrokenScenario,
    Result,
    UnavailableScenario,
    exit_code,
)
from control_room.scenarios.run import run_scenario
from control_room.stack.runtime import Runtime
from control_room.stack.select import resolve_state_dir
from control_room.verify import Arithmetic, summary

DEFAULT_FAULTS: Final = 20


def _load(given: str) -> Scenario:
    try:
        return load(find(given))
    except ScenarioError as error:
        raise Stop(str(error), USAGE) from error


def list_all(as_json: bool) -> None:
    """Names and what they prove."""
    found = [_load(name) for name in shipped()]
    if as_json:
        print_json([{"name": one.name, "proves": one.proves, "quick": one.quick} for one in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("SCENARIO", no_wrap=True)
    table.add_column("PROVES")
    for one in found:
        table.add_row(one.name, one.proves)
    Console().print(table)


def show(given: str) -> None:
    """The scenario in words."""
    found = _load(given)
    click.echo(f"{found.name}: {found.proves}")
    click.echo(
        f"load: {found.load.payments} payments at {found.load.rate:g}/s, {found.load.failure_rate:.0%} of answers fail"
    )
    for number, step in enumerate(found.steps, 1):
        click.echo(f"{number}. {step.describe()}")
    click.echo(f"then heal, drain (at most {found.deadline:g} s), verdict")


def lint(files: Sequence[Path]) -> None:
    """Raises Stop where a file is wrong; says how many are right."""
    wrong = []
    chosen = list(files) or list(shipped().values())
    for path in chosen:
        try:
            load(path)
        except ScenarioError as error:
            wrong.append(str(error))
    if wrong:
        raise Stop("\n".join(wrong), USAGE)
    click.echo(f"{len(chosen)} scenarios are right", err=True)


@contextmanager
def _stack(
    chosen: Sequence[Scenario], state: Path | None, runtime_name: str | None, keep: bool, line: LiveLine
) -> Iterator[tuple[Runtime, Path]]:
    """A stack that is up; one that is started for this has its waits compressed, and what the scenarios need."""
    try:
        needed = needs_of_all(chosen)
    except ScenarioError as error:
        raise Stop(str(error), USAGE) from error
    options = {"links": True} if any(scenario.needs_links for scenario in chosen) else {}
    runtime = runtime_of(state, runtime_name, quick_environment() | needed, **options)
    heal_left_behind(runtime, state)
    with stack_for(runtime, keep, line.say):
        yield runtime, resolve_state_dir(state)


def _one(runtime: Runtime, state_dir: Path, scenario: Scenario, seed: int | None, line: LiveLine) -> Result:
    def look(arithmetic: Arithmetic) -> None:
        line.show(arithmetic.line(), arithmetic.delivered / scenario.load.payments)

    runtime.up(line.say)  # what the scenario before may have left
    return run_scenario(runtime, state_dir, dataset.PAYMENTS, scenario, seed=seed, narrate=line.say, on_look=look)


def _one_of_many(runtime: Runtime, state_dir: Path, scenario: Scenario, seed: int | None, line: LiveLine) -> AnyResult:
    """Failure policy: open. What ends one scenario is told in its place, and the next ones find a stack again."""
    try:
        with explained():
            return _one(runtime, state_dir, scenario, seed, line)
    except Stop as error:
        return BrokenScenario(scenario, error.message)


def run(
    given: str,
    state: Path | None,
    runtime_name: str | None,
    *,
    seed: int | None,
    repeat: int,
    keep: bool,
    as_json: bool,
) -> int:
    """Runs one scenario, `repeat` times; the first exit code that is not 0. One that is not available is told once."""
    return _run([_load(given)] * repeat, state, runtime_name, seed=seed, keep=keep, as_json=as_json)


def storm(
    state: Path | None,
    runtime_name: str | None,
    *,
    seed: int | None,
    faults: int | None,
    minutes: float | None,
    rate_per_s: float,
    links: bool,
    keep: bool,
    as_json: bool,
) -> int:
    """Runs a storm; its exit code."""
    chosen = new_seed() if seed is None else seed
    many = faults or (storms.faults_for(minutes) if minutes is not None else DEFAULT_FAULTS)
    payments = storms.payments_for(many, rate_per_s)
    made = storms.storm(chosen, faults=many, rate_per_s=rate_per_s, payments=payments, links=links)
    click.echo(f"storm of {many} faults, {payments} payments, seed {chosen}", err=True)
    return _run([made], state, runtime_name, seed=chosen, keep=keep, as_json=as_json)


def _run(
    chosen: Sequence[Scenario],
    state: Path | None,
    runtime_name: str | None,
    *,
    seed: int | None,
    keep: bool,
    as_json: bool,
) -> int:
    results: list[Result] = []
    with LiveLine() as line, _stack(chosen, state, runtime_name, keep, line) as (runtime, state_dir):
        for number, scenario in enumerate(chosen):
            own = None if seed is None else seed + number
            results.append(_one(runtime, state_dir, scenario, own, line))
            if isinstance(results[-1], UnavailableScenario):
                break
    for result in results:
        if as_json:
            print_json(result.to_json())
            continue
        if isinstance(result, UnavailableScenario):
            click.echo(f"{result.scenario.name} {UNAVAILABLE}: {result.why}")
            continue
        click.echo(summary(result.verdict, str(result.run_dir)))
        if not result.passed:
            click.echo(f"  {result.scenario.name} FAILED: {result.why}")
        click.echo(f"  seed {result.seed}, worst outage for a client {result.measures.worst_outage_s:.1f} s")
    return exit_code(results)


def matrix(
    names: Sequence[str],
    state: Path | None,
    runtime_name: str | None,
    *,
    seed: int | None,
    quick: bool,
    markdown_to: Path | None,
    junit_to: Path | None,
    keep: bool,
    as_json: bool,
) -> int:
    """Runs the scenarios and tells what each came to; 1 or the first verdict's code where one failed."""
    chosen = [_load(name) for name in names or shipped()]
    chosen = [one for one in chosen if one.quick or not quick]
    with LiveLine() as line, _stack(chosen, state, runtime_name, keep, line) as (runtime, state_dir):
        results = tables.run_all(
            chosen,
            lambda scenario: _one_of_many(runtime, state_dir, scenario, seed, line),
            lambda result: line.say(f"{_word(result)} {result.scenario.name} {result.why}"),
        )
    try:
        tables.write(results, markdown_to=markdown_to, junit_to=junit_to)
    except OSError as error:
        raise Stop(f"{error.filename}: {error.strerror}", FAILED) from error
    if as_json:
        print_json(tables.to_json(results))
    else:
        _print(results)
    return exit_code(results)


def _word(result: AnyResult) -> str:
    if isinstance(result, UnavailableScenario):
        return UNAVAILABLE.upper()
    return "PASSED" if result.passed else "FAILED"


def _print(results: Sequence[AnyResult]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(tables.COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right")
    for result in results:
        table.add_row(*tables.row(result))
    Console().print(table)
    for result in results:
        if not result.passed and not isinstance(result, UnavailableScenario):
            click.echo(f"{result.scenario.name}: {result.why}")
