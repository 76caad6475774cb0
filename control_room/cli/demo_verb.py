"""`demo`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

import dataset
from control_room.cli.context import explained, heal_left_behind, json_option, print_json, runtime_of, stack_options
from control_room.stack.runtime import Narrate, NotRunningError, Runtime
from control_room.stack.select import resolve_state_dir
from control_room.verify import Arithmetic, summary

if TYPE_CHECKING:  # imported when the verb runs: `--help` stays quick
    from control_room.replay.progress import Progress
    from control_room.runs.demo import DemoResult


@click.command()
@stack_options
@json_option
@click.option("--keep", is_flag=True, help="Leave the stack up afterwards.")
@click.option("--payments", type=click.IntRange(20, 100_000), default=300, show_default=True)
@click.option("--rate", "rate_per_s", type=click.FloatRange(1, 5000), default=50.0, show_default=True)
@click.option("--failure-rate", type=click.FloatRange(0, 0.95), default=0.7, show_default=True)
def demo(
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    keep: bool,
    payments: int,
    rate_per_s: float,
    failure_rate: float,
) -> None:
    """Start the stack, replay payments, kill the dispatcher and a broker on the way, heal, drain, prove.

    The line that stays tells where every accepted payment is. A stack that was up before stays up.
    """
    from control_room.cli.live_line import LiveLine
    from control_room.runs.demo import DemoPlan, run_demo

    runtime, state_dir = runtime_of(state, runtime_name), resolve_state_dir(state)
    plan = DemoPlan(payments=payments, rate_per_s=rate_per_s, failure_rate=failure_rate)
    with explained(), LiveLine() as line:

        def look(progress: Progress | None, arithmetic: Arithmetic) -> None:
            share = arithmetic.delivered / payments
            sent = f"sent {progress.payments}  " if progress is not None else ""
            line.show(f"{sent}{arithmetic.line()}", share)

        heal_left_behind(runtime, state)
        with stack_for(runtime, keep, line.say):
            result = run_demo(runtime, state_dir, dataset.PAYMENTS, plan, line.say, look)
    if as_json:
        print_json(result.to_json())
    else:
        _tell(result)
    click.get_current_context().exit(result.verdict.exit_code)


@contextmanager
def stack_for(runtime: Runtime, keep: bool, narrate: Narrate) -> Iterator[None]:
    """A stack that is up, taken down at the end unless it was up before or is to be kept."""
    try:
        runtime.endpoints()
        was_up = all(member.pid is not None for member in runtime.status())
    except NotRunningError:
        was_up = False
    try:
        runtime.up(narrate)
        yield
    finally:
        if not was_up and not keep:
            runtime.down(narrate)
        else:
            narrate("the stack stays up; end it with: bruce-control down")


def _tell(result: DemoResult) -> None:
    click.echo(summary(result.verdict, str(result.run_dir)))
    click.echo(
        f"  accepted {result.accepted}, attempts {result.attempts}, re-queued {result.requeued}, "
        f"killed {result.killed}, duplicates {result.duplicates}, {result.duration_s:.0f} s"
    )
    folder = os.path.relpath(result.run_dir)
    click.echo(f"  evidence: {folder}   check it again: bruce-control check {folder}")
