"""`bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import dataset
from control_room.cli.context import explained, heal_left_behind, json_option, print_json, runtime_of, stack_options
from control_room.cli.demo_verb import stack_for
from control_room.replay.options import DEFAULT_BATCH_CONCURRENCY, MAX_CONCURRENCY
from control_room.stack.select import resolve_state_dir
from services.common.batch import MAX_BATCH_EVENTS


@click.command()
@stack_options
@json_option
@click.option("--events", type=click.IntRange(100, 5_000_000), default=20_000, show_default=True)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    help=f"Requests at once. [default: 64; {DEFAULT_BATCH_CONCURRENCY} with --batch]",
)
@click.option("--rate", "rate_per_s", type=click.FloatRange(1, 100_000), help="Open loop at this rate instead.")
@click.option(
    "--batch", type=click.IntRange(1, MAX_BATCH_EVENTS), default=1, show_default=True, help="Payments in one request."
)
@click.option("--failure-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True)
@click.option("--warm-up", type=click.IntRange(0), default=2_000, show_default=True, help="Payments not counted.")
@click.option("--keep", is_flag=True, help="Leave the stack up afterwards.")
def bench(
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    events: int,
    concurrency: int | None,
    rate_per_s: float | None,
    batch: int,
    failure_rate: float,
    warm_up: int,
    keep: bool,
) -> None:
    """Measure throughput, latency, CPU and memory of the stack as a user has it: fsync on, acks=all, three brokers.

    The client runs on the same cores. The ledger must balance: the exit code is the verdict's.
    """
    from control_room.cli.live_line import LiveLine
    from control_room.cli.replay_text import done, live_text
    from control_room.runs.bench import BenchPlan, run_bench

    runtime, state_dir = runtime_of(state, runtime_name), resolve_state_dir(state)
    plan = BenchPlan(
        events=events,
        concurrency=concurrency or (64 if batch == 1 else DEFAULT_BATCH_CONCURRENCY),
        rate_per_s=rate_per_s,
        batch=batch,
        failure_rate=failure_rate,
        warm_up=warm_up,
    )
    with explained(), LiveLine() as line:
        heal_left_behind(runtime, state)
        with stack_for(runtime, keep, line.say):
            result = run_bench(
                runtime,
                state_dir,
                dataset.PAYMENTS,
                plan,
                line.say,
                lambda progress: line.show(live_text(progress), done(progress)),
            )
    if as_json:
        print_json(result.to_json())
    else:
        _tell(result.to_json())
    click.get_current_context().exit(result.verdict.exit_code)


def _tell(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    how = f"{found['concurrency']} at once" if found["mode"] == "closed" else f"open loop, {found['rate_per_s']:g}/s"
    click.echo(f"{found['events']} events, {how}, failure rate {found['failure_rate']:g}: {found['verdict']}")
    click.echo(f"accepted {found['accepted_per_s']}/s, delivered end to end {found['delivered_per_s']}/s")
    for name, words in (("accept_ms", "accept"), ("accept_to_delivered_ms", "accept → delivered")):
        click.echo(f"{words}: " + ", ".join(f"{key} {value} ms" for key, value in found[name].items()))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("MEMBER")
    table.add_column("CPU s / 1,000 events", justify="right")
    table.add_column("PEAK MiB", justify="right")
    for name, seconds in found["cpu_s_per_1000_events"].items():
        table.add_row(name, f"{seconds:.3f}", f"{found['peak_memory_mib'].get(name, 0):.0f}")
    table.add_row("(this client)", f"{found['client_cpu_s_per_1000_events']:.3f}", "")
    Console().print(table)
    click.echo(f"evidence: {found['folder']}")
