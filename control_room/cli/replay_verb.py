"""`replay`: its options. What it does is in `replay_action`, loaded when it is called: `--help` stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import dataset
from control_room.cli.context import explained, heal_left_behind, json_option, runs_folder, runtime_of, stack_options
from control_room.replay.options import (
    DEFAULT_BATCH_CONCURRENCY,
    DEFAULT_CONCURRENCY,
    MAX_CONCURRENCY,
    ReplayOptions,
    new_seed,
)
from control_room.stack.select import resolve_state_dir
from services.common.batch import MAX_BATCH_EVENTS


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@stack_options
@json_option
@click.option("--max", "max_payments", type=click.IntRange(1), help="Send at most so many payments.")
@click.option("--url", help="Another API than the stack's, such as http://127.0.0.1:8001.")
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), help="Open loop: payments a second.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="Open loop: the file's gaps, so much faster.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    help=f"Closed loop: requests on their way at once. [default: {DEFAULT_CONCURRENCY}; "
    f"{DEFAULT_BATCH_CONCURRENCY} with --batch]",
)
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_BATCH_EVENTS),
    default=1,
    show_default=True,
    help="Payments in one request (POST /events/batch); each keeps its own operation and answer.",
)
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Send the file so many times.")
@click.option(
    "--ids",
    type=click.Choice(["file", "fresh"]),
    default="file",
    show_default=True,
    help="The rows' own ids, or new ones from the seed (--repeat implies fresh).",
)
@click.option("--seed", type=click.IntRange(0), help="For fresh ids and jitter. [default: by chance, kept in run.json]")
@click.option("--strict", is_flag=True, help="Send nothing where the file has a bad row.")
@click.option("--dry-run", is_flag=True, help="Read and check the file, send nothing.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was cut off; other options come from it.")
def replay(
    file: Path | None,
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    max_payments: int | None,
    url: str | None,
    rate_per_s: float | None,
    speed: float | None,
    concurrency: int | None,
    batch: int,
    repeat: int,
    ids: Literal["file", "fresh"],
    seed: int | None,
    strict: bool,
    dry_run: bool,
    resume: str | None,
) -> None:
    """Send the payments of FILE (default: the project's 1,000) and keep an operation log.

    Latency in an open loop counts from when a payment was due. A bad row is reported, kept in rejected.csv, and the
    rest goes on. Exit code 1 where a payment was refused or got no answer, 3 where nothing answered.
    """
    from control_room.cli import replay_action

    with explained():
        runtime = runtime_of(state, runtime_name)
        if resume is not None:
            folder = replay_action.resumed(runs_folder(state), resume)
        else:
            options = ReplayOptions(
                file or dataset.PAYMENTS,
                max_payments=max_payments,
                rate_per_s=rate_per_s,
                speed=speed,
                concurrency=concurrency or (DEFAULT_CONCURRENCY if batch == 1 else DEFAULT_BATCH_CONCURRENCY),
                batch=batch,
                repeat=repeat,
                ids=ids,
                strict=strict,
                seed=new_seed() if seed is None else seed,
            )
            if dry_run:
                replay_action.dry(options, as_json)
                return
            folder = replay_action.begin(runtime, options, runs_folder(state), url)
        heal_left_behind(runtime, state)
        summary = replay_action.run(runtime, resolve_state_dir(state), folder, url, resume is not None)
    replay_action.leave(summary, folder, as_json)
