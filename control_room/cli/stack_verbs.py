"""`up` and `down`."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from control_room.cli.context import explained, json_option, narrate, print_json, runtime_of, stack_options
from control_room.stack.runtime import MEMBERS


class _Replacement(click.ParamType[tuple[str, list[str]]]):
    """`MEMBER=COMMAND`: a member and the words of what runs in its place."""

    name = "MEMBER=COMMAND"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[str]]:
        """The member's name, and a command whose program is found already."""
        member, _, command = str(value).partition("=")
        if member not in MEMBERS:
            self.fail(f"there is no member {member!r}; the members are {', '.join(MEMBERS)}", param, ctx)
        try:
            words = shlex.split(command)
        except ValueError as error:
            self.fail(f"{command!r} cannot be read as a command: {error}", param, ctx)
        if not words:
            self.fail(f'{member} needs a command, such as {member}="python -m pdb my_service.py"', param, ctx)
        program = _program(words[0])
        if program is None:
            self.fail(f"there is no program {words[0]!r} to run {member} with", param, ctx)
        return member, [program, *words[1:]]


def _program(word: str) -> str | None:
    """The program's path: `python` is the one that runs this, others come from PATH or as a path; None: not there."""
    if word in ("python", "python3"):
        return sys.executable
    found = shutil.which(word)
    return str(Path(found).absolute()) if found else None


@click.command()
@click.option(
    "--replace",
    "replaced",
    multiple=True,
    type=_Replacement(),
    help="Run COMMAND as this member, here and with its environment: another build, a debugger. Repeatable.",
)
@click.option(
    "--links",
    is_flag=True,
    help="Let the members reach each other through a proxy, so that `chaos link` can cut, slow and reset connections. "
    "Costs 24 MiB, and about 40 µs of CPU for a message and its answer: see docs/performance.md.",
)
@stack_options
@json_option
def up(
    replaced: Sequence[tuple[str, list[str]]],
    links: bool,
    state: Path | None,
    runtime_name: str | None,
    as_json: bool,
) -> None:
    """Start the stack and wait until every member is ready.

    A second `up` changes nothing. Settings come from the environment (FAILURE_RATE, MAX_RETRIES, ports such as
    NGINX_PORT and so on): see the README.
    """
    options: dict[str, Any] = {"member_commands": dict(replaced)} if replaced else {}
    if links:
        options["links"] = True
    runtime = runtime_of(state, runtime_name, **options)
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
