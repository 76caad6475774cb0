"""What verbs share: the stack they speak of, how they print, and what an error turns into."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson

from control_room import exit_codes
from control_room.chaos.errors import FaultError
from control_room.durations import seconds
from control_room.replay.errors import BadRowsError, OptionsError, ReplayError
from control_room.replay.errors import SourceError as FileSourceError
from control_room.runs.folders import NoRunError
from control_room.stack.runtime import NotRunningError, Runtime, StackError, StackSettingsError
from control_room.stack.select import RUNTIMES, open_runtime, resolve_state_dir
from control_room.tracking.parts import SourceError
from services.common.signing import SecretError

F = TypeVar("F", bound=Callable[..., Any])


class Stop(click.ClickException):
    """Ends a verb with a sentence on stderr and an exit code."""

    def __init__(self, sentence: str, code: int = exit_codes.FAILED) -> None:
        super().__init__(sentence)
        self.code = code

    def show(self, file: Any = None) -> None:
        """The sentence, without click's "Error:"."""
        del file
        click.echo(f"bruce-control: {self.message}", err=True)


class _DurationType(click.ParamType[float]):
    """An option that takes a duration, in seconds to the verb."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`30s` as 30.0."""
        try:
            return seconds(value) if isinstance(value, str) else float(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION: Final = _DurationType()


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
    return click.option(
        "--runtime",
        "runtime_name",
        type=click.Choice(RUNTIMES),
        help="What runs the stack. [default: $BRUCE_RUNTIME, else the one whose stack is there, else docker where its "
        "engine answers]",
    )(verb)


def json_option(verb: F) -> F:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="Data as JSON on stdout.")(verb)


def runtime_of(
    state: Path | None, runtime_name: str | None, environ: Mapping[str, str] | None = None, **options: object
) -> Runtime:
    """The runtime of the state folder that --state, BRUCE_STATE or the default names; `environ` as its settings.

    `options` are the runtime's own.
    """
    with explained():
        return open_runtime(
            runtime_name, resolve_state_dir(state), os.environ if environ is None else environ, **options
        )


def quick_environment() -> dict[str, str]:
    """This process's environment, with a stack's waits compressed where nobody set them: the rules stay the same."""
    return {**_QUICK, **os.environ}


_QUICK: Final = {
    "FAILURE_RATE": "0.2",
    "RETRY_BACKOFF_SEC": "0.5",
    "REQUEST_TIMEOUT_SEC": "1",
    "RETRY_PAUSE_SECONDS": "20",
    "PROBE_INTERVAL_SECONDS": "1",
}


def runs_folder(state: Path | None) -> Path:
    """Where the runs of that state folder lie."""
    return resolve_state_dir(state) / "runs"


_CODES: Final[Mapping[type[Exception], int]] = {
    NotRunningError: exit_codes.UNREACHABLE,
    StackSettingsError: exit_codes.USAGE,
    StackError: exit_codes.UNREACHABLE,
    SourceError: exit_codes.UNREACHABLE,
    NoRunError: exit_codes.USAGE,
    OptionsError: exit_codes.USAGE,
    FileSourceError: exit_codes.USAGE,
    BadRowsError: exit_codes.USAGE,
    SecretError: exit_codes.USAGE,
    ReplayError: exit_codes.FAILED,
    FaultError: exit_codes.FAILED,
}
"""What each known error means to a shell; its message is a sentence already. The first that fits counts."""


@contextmanager
def explained() -> Iterator[None]:
    """Turns known errors into their sentence and an exit code."""
    try:
        yield
    except tuple(_CODES) as error:
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        raise Stop(str(error), code) from error


def heal_left_behind(runtime: Runtime, state: Path | None) -> None:
    """Heals the faults whose time is over or whose injector died, and says so. Call it within `explained`."""
    from control_room.chaos.journal import journal_paths
    from control_room.chaos.overdue import heal_overdue

    try:
        runtime.endpoints()
    except NotRunningError:
        return
    for record in heal_overdue(runtime, journal_paths(resolve_state_dir(state))):
        fault = record.fault
        seen = "" if record.evidence.ok else ", but that was not seen to work"
        narrate(f"healed what was left behind: fault {fault.number}, {fault.name} {fault.target}{seen}")


def narrate(sentence: str) -> None:
    """One sentence of progress on stderr."""
    click.echo(sentence, err=True)


def print_json(document: Any) -> None:
    """`document` on stdout, on one line, keys as they are."""
    click.echo(orjson.dumps(document, default=str).decode())
