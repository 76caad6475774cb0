"""`status`: one snapshot of the pipeline, or one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from control_room.cli.context import Stop, explained, json_option, print_json, runtime_of, stack_options
from control_room.exit_codes import UNREACHABLE
from control_room.stack.select import resolve_state_dir

if TYPE_CHECKING:  # imported when the verb runs: `--help` stays quick
    from control_room.tracking.watch import Watch

_FIRST_ANSWERS_S: Final = 0.5
"""Most sources answer within it; the others show at the next look."""


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
    from control_room.tracking.pipeline import pipeline_status
    from control_room.tracking.watch import STATUS_PARTS, Watch

    runtime = runtime_of(state, runtime_name)
    with explained():
        ports = runtime.endpoints().ports
        if watch:
            _watch(Watch(runtime, resolve_state_dir(state), parts=STATUS_PARTS), ports, as_json, interval_s)
        snapshot = pipeline_status(runtime)
    if as_json:
        print_json({**snapshot.to_json(), "ports": dict(ports)})
    else:
        Console().print(drawn(snapshot, ports))
    not_ready = [member.name for member in snapshot.members.value or [] if not member.ready]
    if not_ready or snapshot.members.value is None:
        raise Stop(f"not ready: {', '.join(not_ready) or 'members could not be read'}", UNREACHABLE)


def _watch(gathering: Watch, ports: Mapping[str, int], as_json: bool, interval_s: float) -> NoReturn:
    """Shows a look after the other, until Ctrl-C; what is silent is shown as it was, with its age."""
    from rich.console import Console
    from rich.live import Live

    from control_room.cli.status_text import drawn

    gathering.start()
    time.sleep(_FIRST_ANSWERS_S)
    with Live(console=Console(), auto_refresh=False, screen=False) if not as_json else nullcontext() as live:
        while True:
            seen = gathering.snapshot().pipeline()
            if live is None:
                print_json(seen.to_json())
            else:
                live.update(drawn(seen, ports), refresh=True)
            time.sleep(interval_s)
