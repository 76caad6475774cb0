"""`status`: one snapshot of the pipeline, or one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from control_room.cli.context import Stop, explained, json_option, print_json, runtime_of, stack_options
from control_room.exit_codes import UNREACHABLE

if TYPE_CHECKING:  # imported when the verb runs: `--help` stays quick
    from control_room.tracking.pipeline import PipelineWatch


@click.command()
@stack_options
@json_option
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C; with --json one line per look.")
@click.option("--interval", "interval_s", type=click.FloatRange(0.5, 60), default=1.0, show_default=True)
def status(state: Path | None, runtime_name: str | None, as_json: bool, watch: bool, interval_s: float) -> None:
    """Members, Kafka, outbox, dispatcher and merchant, as they are now.

    Exit code 0 where every member is ready, 3 where one is not or there is no stack.
    """
    from rich.console import Console

    from control_room.cli.status_text import drawn
    from control_room.tracking.pipeline import PipelineWatch

    runtime = runtime_of(state, runtime_name)
    with explained():
        pipeline = PipelineWatch(runtime)
        ports = runtime.endpoints().ports
    if watch:
        _watch(pipeline, ports, as_json, interval_s)
        return
    snapshot = pipeline.snapshot()
    if as_json:
        print_json({**snapshot.to_json(), "ports": dict(ports)})
    else:
        Console().print(drawn(snapshot, ports))
    not_ready = [member.name for member in snapshot.members.value or [] if not member.ready]
    if not_ready or snapshot.members.value is None:
        raise Stop(f"not ready: {', '.join(not_ready) or 'members could not be read'}", UNREACHABLE)


def _watch(pipeline: PipelineWatch, ports: Mapping[str, int], as_json: bool, interval_s: float) -> None:
    if as_json:
        while True:
            print_json(pipeline.snapshot().to_json())
            time.sleep(interval_s)
    from rich.console import Console
    from rich.live import Live

    from control_room.cli.status_text import drawn

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            live.update(drawn(pipeline.snapshot(), ports), refresh=True)
            time.sleep(interval_s)
