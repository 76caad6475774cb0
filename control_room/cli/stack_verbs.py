"""`up` and `down`."""

from __future__ import annotations

from pathlib import Path

import click

from control_room.cli.context import explained, json_option, narrate, print_json, runtime_of, stack_options


@click.command()
@stack_options
@json_option
def up(state: Path | None, runtime_name: str | None, as_json: bool) -> None:
    """Start the stack and wait until every member is ready.

    A second `up` changes nothing. Settings come from the environment (FAILURE_RATE, MAX_RETRIES, ports such as
    NGINX_PORT and so on): see the README.
    """
    runtime = runtime_of(state, runtime_name)
    with explained():
        runtime.up(narrate)
        endpoints = runtime.endpoints()
    if as_json:
        print_json({"runtime": runtime.name, "api": endpoints.api_url, "merchant": endpoints.merchant_url})
    else:
        narrate(f"Up: API {endpoints.api_url}, merchant {endpoints.merchant_url}. Next: bruce-control status")


@click.command()
@stack_options
@click.option("--volumes", is_flag=True, help="Delete the stack's data too (runs are kept).")
def down(state: Path | None, runtime_name: str | None, volumes: bool) -> None:
    """Stop everything that this stack started; leaves no process behind."""
    with explained():
        runtime_of(state, runtime_name).down(narrate, volumes=volumes)
