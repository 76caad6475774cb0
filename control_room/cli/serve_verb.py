"""`serve`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from control_room import exit_codes
from control_room.cli.context import Stop, narrate
from control_room.stack.select import resolve_state_dir


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="0: a free one. [default: the setting serve_port]")
@click.option("--read-only", is_flag=True, help="Pages only watch.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`.")
def serve(port: int | None, read_only: bool, state: Path | None) -> None:
    """The control room in a browser, on this machine alone.

    Prints the address, with a token in it that is another at each start: whoever has it can do what you can do here.
    Everything without it is answered with 403. Ctrl-C ends it, and the pages with it; a stack goes on.
    """
    from control_room.ui.browser import LOOPBACK, TokenServer, listening, new_token
    from control_room.ui.settings import read_settings, settings_path

    wanted = read_settings(settings_path(), os.environ).serve_port if port is None else port
    try:
        listener = listening(wanted)
    except OSError as error:
        raise Stop(
            f"port {wanted} of {LOOPBACK} cannot be used: {error.strerror}; try --port 0", exit_codes.USAGE
        ) from error
    # exec: no shell stands between the server and the app that it ends.
    command = ["exec", sys.executable, "-m", "control_room.cli", "--state", str(resolve_state_dir(state))]
    command += ["--read-only"] if read_only else []
    server = TokenServer(shlex.join(command), listener.getsockname()[1], new_token())
    click.echo(server.url)
    narrate("Ctrl-C ends it")
    server.run(listener)
