"""`bruce-control`: the verbs, loaded only when they are called, and what their errors mean to a shell."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click

from control_room import exit_codes

VERBS: Final = {
    "up": ("stack_verbs", "Start the stack and wait until every member is ready."),
    "down": ("stack_verbs", "Stop the stack; with --volumes delete its data too."),
    "status": ("status_verb", "Members, Kafka, outbox, dispatcher and merchant, now."),
    "logs": ("logs_verb", "What the members wrote."),
    "replay": ("replay_verb", "Send the payments of a CSV file."),
    "chaos": ("chaos_verbs", "Break a member or the merchant's behaviour, with evidence."),
    "heal": ("chaos_verbs", "Undo every open fault."),
    "verify": ("verdict_verbs", "Wait for the drain, gather the evidence, give the verdict."),
    "check": ("verdict_verbs", "Give the verdict again from a run's files alone."),
    "report": ("verdict_verbs", "Write a run's report."),
    "runs": ("runs_verb", "List the runs, delete some."),
    "open": ("open_verb", "Look at a run again, at any moment of it."),
    "events": ("transaction_verbs", "Transactions and where they are."),
    "event": ("transaction_verbs", "The whole story of one transaction."),
    "redeliver": ("redeliver_verb", "Have transactions delivered to the merchant once more."),
    "scenario": ("scenario_verbs", "Faults in an order, as files: list, show, lint, run."),
    "storm": ("scenario_verbs", "Faults in an order that a seed decides."),
    "matrix": ("scenario_verbs", "Run many scenarios and compare what became of the payments."),
    "demo": ("demo_verb", "Start, replay, kill, heal, drain, prove."),
    "bench": ("bench_verb", "Measure throughput, latency, CPU and memory."),
    "tour": ("room_verbs", "Open the control room with a guided tour."),
    "serve": ("serve_verb", "The control room in a browser, on this machine alone."),
    "config": ("config_verb", "The control room's settings and keys: show, set, unset."),
    "completion": ("completion_verb", "Print the completion script of a shell."),
}
"""Each verb, the module of this package that has it, and its line in the help: `--help` imports none of them."""


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of an operator's day."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None where there is none of that name."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"control_room.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs from the table, without loading them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


EPILOG: Final = (
    "Exit codes: 0 fine or proven, 1 failed, 2 usage, 3 stack not reachable, 10 LOST (any invalid class), "
    "11 late, 12 UNKNOWN, 130 interrupted. Data goes to stdout, narration to stderr."
)


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(package_name="bruce-control")
@click.option("--read-only", is_flag=True, help="Without a verb: a control room that only watches.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="As in `up`, for any verb.")
@click.option("--runtime", help="As in `up`, for any verb.")
@click.option(
    "--external",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A stack that runs elsewhere, as FILE says, for any verb: docs/external.md. [default: $BRUCE_EXTERNAL]",
)
@click.pass_context
def cli(ctx: click.Context, read_only: bool, state: Path | None, runtime: str | None, external: Path | None) -> None:
    """Bruce: payment webhooks delivered at least once, and the proof of it while you break things.

    Without a verb, on a terminal, it opens the control room.
    """
    # As variables they reach every verb, and whatever process it starts; a verb's own option wins over them.
    if state is not None:
        os.environ["BRUCE_STATE"] = str(state.absolute())
    if runtime is not None:
        os.environ["BRUCE_RUNTIME"] = runtime
    if external is not None:
        if runtime not in (None, "external"):
            raise click.UsageError(f"--external names a stack elsewhere, --runtime asks for {runtime}")
        os.environ["BRUCE_EXTERNAL"], os.environ["BRUCE_RUNTIME"] = str(external.absolute()), "external"
    if ctx.invoked_subcommand is not None:
        return
    in_browser = "TEXTUAL_DRIVER" in os.environ  # set by `serve`: what is drawn goes through pipes
    if not (in_browser or (sys.stdin.isatty() and sys.stdout.isatty())):
        click.echo(ctx.get_help())
        return
    from control_room.cli.room import open_room

    ctx.exit(open_room(state, read_only=read_only))


def _interrupt(*_: object) -> None:
    """SIGTERM ends a verb as Ctrl-C does: what it started is put in order first."""
    raise KeyboardInterrupt


class _Leaving:
    """The last that is done at the end: leaves at once where Kafka's client was loaded.

    Its threads go on while the C library's own end takes the tables of their OpenSSL away, and one in the middle of a
    handshake then ends by a segmentation fault a process that did all it should. A collector that was told to stop is
    not waited for, so such threads are nothing unusual. What was registered for the end since `main` began is done.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        """None: nothing is known of an end in order, and nothing is done."""

    def __call__(self) -> None:
        if self.status is None or "confluent_kafka" not in sys.modules:
            return
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader left, or it is closed
                stream.flush()
        os._exit(self.status)


def main() -> None:
    """The console script. Every known error is a sentence on stderr and an exit code, never a traceback."""
    leaving = _Leaving()
    atexit.register(leaving)  # first, and so called last
    signal.signal(signal.SIGTERM, _interrupt)
    leaving.status = _status()
    sys.exit(leaving.status)


def _status() -> int:
    """Does what was asked for; the exit code."""
    try:
        status = cli.main(prog_name="bruce-control", standalone_mode=False)
    except click.exceptions.Abort:
        return exit_codes.INTERRUPTED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return int(getattr(error, "code", error.exit_code))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our stdout left, for example `| head`: nobody is there to be told
        return exit_codes.FINE
    return status if isinstance(status, int) else exit_codes.FINE
