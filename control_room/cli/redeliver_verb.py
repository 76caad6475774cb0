"""`redeliver`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from control_room.cli.context import Stop, explained, json_option, narrate, print_json, runtime_of, stack_options
from control_room.exit_codes import FAILED, FINE, USAGE


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--filter", "expression", help="All that fit: state:dead, state:delivered age>10s, http:200 anna.")
@click.option("--reason", default="", help="Why, in words; kept with each redelivery.")
@click.option("-y", "--yes", is_flag=True, help="Without the question.")
@stack_options
@json_option
def redeliver(
    ids: tuple[str, ...],
    expression: str | None,
    reason: str,
    yes: bool,
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
) -> int:
    """Have transactions delivered to the merchant once more, each under its own id and signed anew.

    ID is a transaction id or its first characters, at least 4. Only what is delivered or dead-lettered is redelivered;
    what is still on its way is refused: it arrives without being asked for. Exits with 1 where anything was refused.
    """
    from control_room.replay import redelivery
    from control_room.tracking.filter import FilterError, parse_filter

    if bool(ids) == (expression is not None):
        raise Stop("give transaction ids, or --filter with an expression, not both", USAGE)
    if expression is not None and not expression.strip():
        raise Stop("an empty filter is every transaction; to mean that, write --filter state:delivered,dead", USAGE)
    if not yes and not sys.stdin.isatty():
        raise Stop("nobody is there to be asked: say --yes", USAGE)
    try:
        with explained():
            conninfo = runtime_of(state, runtime_name).endpoints().postgres_conninfo
            if expression is not None:
                chosen = redelivery.select_fitting(conninfo, parse_filter(expression))
            else:
                chosen = redelivery.select_ids(conninfo, ids)
    except (FilterError, ValueError) as error:
        raise Stop(str(error), USAGE) from error
    for sentence in chosen.words():
        narrate(sentence)
    if not chosen.ids:
        raise Stop("there is nothing to redeliver", FAILED)
    if not yes and not click.confirm(f"Redeliver {len(chosen.ids):,}?", err=True):
        raise Stop("nothing was asked for", FAILED)
    with explained():
        asked = redelivery.redeliver(conninfo, chosen.ids, reason)
    for sentence in asked.refused:
        narrate(sentence)
    if as_json:
        print_json({**asked.to_json(), "refused": [*chosen.refused, *asked.refused]})
    else:
        narrate(f"{asked.line()}. Next: bruce-control event {next(iter(asked.numbers), chosen.ids[0])}")
    return FAILED if chosen.refused or asked.refused else FINE
