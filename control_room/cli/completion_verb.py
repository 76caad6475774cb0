"""`completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: bruce-control completion bash > ~/.local/share/bash-completion/completions/bruce-control
    """
    from control_room.cli.main import cli

    completer = get_completion_class(shell)
    assert completer is not None  # noqa: S101  click itself ships the three that Choice lets through
    click.echo(completer(cli, {}, "bruce-control", "_BRUCE_CONTROL_COMPLETE").source())
