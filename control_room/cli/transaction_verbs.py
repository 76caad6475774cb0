"""`events` and `event`."""

from __future__ import annotations

from pathlib import Path

import click

from control_room.cli.context import (
    Stop,
    explained,
    json_option,
    print_json,
    runtime_of,
    stack_options,
    stack_options_beside_states,
)
from control_room.exit_codes import FAILED, USAGE
from control_room.stack.select import resolve_state_dir
from control_room.tracking.states import STATES


@click.command()
@stack_options_beside_states
@json_option
@click.option("--state", "-s", "states", multiple=True, type=click.Choice(STATES), help="Only these states.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--min-attempts", type=click.IntRange(0), default=0, help="Only those tried at least so often.")
@click.option("--min-age", "min_age_s", type=click.FloatRange(0), default=0.0, help="Only those at least so old (s).")
@click.option("--text", default="", help="Only those whose id begins with it, or whose names or last error hold it.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
def events(
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
    states: tuple[str, ...],
    limit: int,
    min_attempts: int,
    min_age_s: float,
    text: str,
    following: bool,
) -> None:
    """Transactions, newest first, and where each one is.

    With --follow a line for each that arrives or changes its state, as it happens; with --json one object a line.
    """
    from rich.console import Console

    from control_room.cli.transaction_follow import follow_transactions
    from control_room.cli.transaction_table import table
    from control_room.tracking.filter import Comparison, Filter
    from control_room.tracking.transactions import list_transactions
    from control_room.tracking.watch import Watch

    runtime = runtime_of(state, runtime_name)
    with explained():
        endpoints = runtime.endpoints()
        if following:
            chosen = Filter(
                frozenset(states),
                (Comparison("try", ">=", min_attempts), Comparison("age", ">=", min_age_s)),
                words=(text.lower(),) if text else (),
            )
            follow_transactions(Watch(runtime, resolve_state_dir(state), parts=["transactions"]), chosen, as_json)
        page = list_transactions(
            endpoints.postgres_conninfo, states, limit, min_attempts=min_attempts, min_age_s=min_age_s, text=text
        )
    if as_json:
        print_json([row.to_json() for row in page])
    else:
        Console().print(table(page))
    if not page.complete:
        click.echo(f"Looked through the newest {page.look_back} only; older ones may fit too.", err=True)


@click.command()
@click.argument("transaction_id", metavar="ID")
@stack_options
@json_option
def event(transaction_id: str, state: Path | None, runtime_name: str | None, as_json: bool) -> None:
    """The whole story of one transaction, its payload and its signed headers.

    ID is a transaction id or its first characters, at least 4.
    """
    from control_room.tracking.timeline import secrets_of, timeline
    from control_room.tracking.timeline_text import render
    from control_room.tracking.transactions import TransactionLookupError, find_transaction
    from control_room.tracking.webhook import render_webhook

    try:
        with explained():
            runtime = runtime_of(state, runtime_name)
            endpoints, secrets = runtime.endpoints(), secrets_of(runtime)
            found = find_transaction(endpoints.postgres_conninfo, transaction_id)
            story = timeline(endpoints, found.transaction_id, resolve_state_dir(state) / "faults.jsonl", secrets)
    except ValueError as error:
        raise Stop(str(error), USAGE) from error
    except TransactionLookupError as error:
        raise Stop(str(error), FAILED) from error
    if as_json:
        print_json(story.to_json())
    else:
        for line in [*render(story), *(render_webhook(story.webhook) if story.webhook else ())]:
            click.echo(line)
