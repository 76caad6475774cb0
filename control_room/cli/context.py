"""What verbs share: the stack they speak of, how they print, and what an error turns into."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from control_room import exit_codes
from control_room.stack.runtime import NotRunningError, Runtime, StackError
from control_room.stack.select import open_runtime, resolve_state_dir

F = TypeVar("F", bound=Callable[..., Any])


class Stop(click.ClickException):
    """Ends a verb with a sentence on stderr and an exit code."""

    def __init__(self, sentence: str, exit_code: int = exit_codes.FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """The sentence, without click's "Error:"."""
        del file
        click.echo(f"bruce-control: {self.message}", err=True)


def stack_options(verb: F) -> F:
    """Adds --state (also called --state-dir) and --runtime."""
    return _stack_options(verb, "--state", "--state-dir")


def stack_options_beside_states(verb: F) -> F:
    """The same for a verb whose --state filters transactions: there the folder is --state-dir only."""
    return _stack_options(verb, "--state-dir")


def _stack_options(verb: F, *names: str) -> F:
    verb = click.option(
        *names,
        "state",
        type=click.Path(file_okay=False, path_type=Path),
        help="The stack's state folder. [default: $BRUCE_STATE, else .bruce]",
    )(verb)
    return click.option("--runtime", "runtime_name", type=click.Choice(["local"]), help="What runs the stack.")(verb)


def json_option(verb: F) -> F:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Data as JSON on stdout.")(verb)


def runtime_of(state: Path | None, runtime_name: str | None) -> Runtime:
    """The runtime of the state folder that --state, BRUCE_STATE or the default names."""
    with explained():
        return open_runtime(runtime_name, resolve_state_dir(state), os.environ)


def runs_folder(state: Path | None) -> Path:
    """Where the runs of that state folder lie."""
    return resolve_state_dir(state) / "runs"


@contextmanager
def explained() -> Iterator[None]:
    """Turns the stack's errors into sentences and exit code 3."""
    try:
        yield
    except NotRunningError as error:
        raise Stop(str(error), exit_codes.UNREACHABLE) from error
    except StackError as error:
        raise Stop(str(error), exit_codes.UNREACHABLE) from error


def narrate(sentence: str) -> None:
    """One sentence of progress on stderr."""
    click.echo(sentence, err=True)


def print_json(document: Any) -> None:
    """`document` on stdout, on one line, keys as they are."""
    click.echo(orjson.dumps(document, default=str).decode())
