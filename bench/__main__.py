"""`python -m bench`: `table` (what `make bench` runs), `load` for one load against any system, and their like."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import psycopg

from bench import kept, machine
from bench import soak as soaking
from bench import spread as spreading
from bench.adapters import ADAPTERS, Target
from bench.alone import ALONE, OLD_ROWS, RECEIVER_PORT, ROWS, Alone, AloneRow
from bench.growth import grow
from bench.load import Behaviour, Load
from bench.measure import measure
from bench.receiver import Receiver
from bench.rows import FULL, QUICK, Row
from bench.sitting import Bench
from bench.stack import running_stack
from control_room.stack.runtime import StackError
from control_room.verify.manifest import EvidenceError

_state = click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".bruce-bench"), show_default=True, help="Its folder."
)
_out = click.option("--out", type=click.Path(path_type=Path), help="Write the result there as well as to stdout.")
_set = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the services.")
_port = click.option("--receiver-port", type=click.IntRange(1, 65535), default=RECEIVER_PORT, show_default=True)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


@click.group()
def main() -> None:
    """Measure Bruce, or any webhook system, with a publisher and a receiver of the bench's own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the stack is taken down


@main.command()
@click.option("--full", is_flag=True, help="All rows instead of the first.")
@click.option(
    "--only", multiple=True, type=click.Choice([row.name for row in (*FULL, *ALONE)]), help="These rows alone."
)
@click.option("--old-rows", type=click.IntRange(1), default=OLD_ROWS, show_default=True, help="Of the row `old-rows`.")
@click.option("--rows", type=click.IntRange(1), default=ROWS, show_default=True, help="Of `replay` and `check`.")
@_state
@_set
@_out
@click.option("--keep", is_flag=True, help="Keep this result in the repository, to compare later ones with.")
@_port
def table(
    full: bool,
    only: tuple[str, ...],
    old_rows: int,
    rows: int,
    state: Path,
    settings: tuple[str, ...],
    out: Path | None,
    keep: bool,
    receiver_port: int,
) -> None:
    """Start a stack of its own, measure row by row, compare with the kept figures, take it down.

    The result is JSON on stdout. Exit code 1 where an acknowledged event was not delivered, or where a row needs more
    than 15 % more CPU per event than the kept figure.
    """
    wanted = [row for row in (FULL if full or only else QUICK) if not only or row.name in only]
    alone = [row for row in ALONE if full or row.name in only]
    document: dict[str, Any] = {"format": 1, "at": round(time.time()), "calibrate_us": machine.calibrate_us()}
    _say(f"calibrate: {document['calibrate_us']} us for a bare Flask POST")
    document |= {"machine": machine.describe(), "rows": {}}
    try:
        if wanted:
            with Receiver(receiver_port) as receiver, running_stack(state, receiver, _given(settings), _say) as stack:
                document |= {"settings": dict(stack.settings()), "up_s": stack.up_s}
                document["rows"] |= _measured(Bench(stack, receiver, _say), wanted)
        by_themselves = Alone(state, rows, _say, _given(settings), old_rows, receiver_port)
        document["rows"] |= _measured_alone(by_themselves, alone)
    except (StackError, OSError) as error:
        raise click.ClickException(str(error)) from error
    good = _ended(document, out)
    if keep:
        kept.keep(document)
    sys.exit(0 if good else 1)


def _given(settings: tuple[str, ...]) -> dict[str, str]:
    if wrong := [pair for pair in settings if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]} is not NAME=VALUE", param_hint="--set")
    return dict(pair.split("=", 1) for pair in settings)


def _ended(document: dict[str, Any], out: Path | None) -> bool:
    """Writes the result; whether it is good."""
    document["calibrate_after_us"] = machine.calibrate_us()
    _write(document, out)
    return _judged(document)


def _write(document: Mapping[str, Any], out: Path | None) -> None:
    text = json.dumps(document, indent=1)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


def _measured(bench: Bench, rows: list[Row]) -> dict[str, Any]:
    _say("warming up")
    bench.warm_up()
    found = {}
    for row in rows:
        _say(f"{row.title} ...")
        found[row.name] = row.measure(bench)
        _say(f"{row.title}: {row.tell(found[row.name])}   (must: {row.must})")
    return found


def _measured_alone(alone: Alone, rows: list[AloneRow]) -> dict[str, Any]:
    found = {}
    for row in rows:
        _say(f"{row.title} ...")
        found[row.name] = row.measure(alone)
        _say(f"{row.title}: {row.tell(found[row.name])}   (must: {row.must})")
    return found


def _judged(document: Mapping[str, Any]) -> bool:
    """Whether nothing is lost and nothing has become dearer; says what has."""
    good = True
    for name, row in document["rows"].items():
        if row.get("missing"):
            good = False
            _say(f"*** LOST: {name}: {row['missing']} events were acknowledged and not delivered")
    before = kept.read_kept()
    if before is None:
        _say("No figures are kept to compare with: --keep keeps these.")
    for comparison in kept.compare(document, before) if before else ():
        good = good and not comparison.worse
        _say(f"*** {comparison.line()}" if comparison.worse else comparison.line())
    return good


@main.command()
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=45.0, show_default=True)
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), required=True, help="Payments a second.")
@click.option("--every", "every_s", type=click.FloatRange(1), default=10.0, show_default=True, help="Seconds.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Draw the curves into this folder.")
@_state
@_set
@_out
def soak(
    minutes: float,
    rate_per_s: float,
    every_s: float,
    plots: Path | None,
    state: Path,
    settings: tuple[str, ...],
    out: Path | None,
) -> None:
    """Hold a rate with a merchant that fails 30 % of the time, and compare the end with the start.

    A stack of its own, with retention at work. The result is JSON on stdout; exit code 1 unless the verdict is proven.
    """
    document: dict[str, Any] = {"format": 1, "at": round(time.time()), "calibrate_us": machine.calibrate_us()}
    document["machine"] = machine.describe()
    wanted = soaking.Soak(minutes, rate_per_s, every_s)
    try:
        with running_stack(state, None, {**soaking.settings(), **_given(settings)}, _say) as stack:
            document |= {"settings": dict(stack.settings()), **soaking.soak(stack, state, wanted, _say)}
    except (StackError, OSError, psycopg.Error, EvidenceError) as error:
        raise click.ClickException(str(error)) from error
    document["calibrate_after_us"] = machine.calibrate_us()
    _write(document, out)
    for line in soaking.tell(document):
        _say(line)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for name, drawing in soaking.plots(document).items():
            (plots / name).write_text(drawing, encoding="utf-8")
    sys.exit(0 if soaking.is_good(document) else 1)


@main.command()
@click.option("--events", type=click.IntRange(1), default=50_000, show_default=True)
@click.option("--partitions", multiple=True, type=click.IntRange(1, 100), default=(3, 6, 12), show_default=True)
@click.option("--dispatchers", multiple=True, type=click.IntRange(1, 20), default=(1, 2, 3), show_default=True)
@_state
@_out
@_port
def growth(
    events: int,
    partitions: tuple[int, ...],
    dispatchers: tuple[int, ...],
    state: Path,
    out: Path | None,
    receiver_port: int,
) -> None:
    """The closed loop with more partitions and more dispatchers: a stack for each number of partitions."""
    document: dict[str, Any] = {"format": 1, "at": round(time.time()), "calibrate_us": machine.calibrate_us()}
    document |= {"machine": machine.describe(), "rows": {}}
    try:
        with Receiver(receiver_port) as receiver:
            for count in partitions:
                document["rows"] |= grow(state, receiver, count, dispatchers, events, _say)
    except (StackError, OSError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if _ended(document, out) else 1)


@main.command()
@click.argument(
    "results", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True, metavar="FILE..."
)
def spread(results: tuple[Path, ...]) -> None:
    """Print the median and the spread of each figure of several results of `table`, in Markdown."""
    try:
        click.echo(spreading.table_of([json.loads(path.read_text(encoding="utf-8")) for path in results]))
    except (ValueError, KeyError) as error:
        raise click.ClickException(f"not all of these are results of `table`: {error!r}") from error


@main.command()
@click.argument("peer", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--events", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--connections", type=click.IntRange(1), default=64, show_default=True)
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), help="Open loop: events a second.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Events in one request.")
@click.option("--failing", type=click.FloatRange(0, 1), default=0.0, help="Share of webhooks answered 500.")
@click.option("--hanging", type=click.FloatRange(0, 1), default=0.0, help="Share of webhooks never answered.")
@_port
def load(
    peer: Path,
    events: int,
    connections: int,
    rate_per_s: float | None,
    batch: int,
    failing: float,
    hanging: float,
    receiver_port: int,
) -> None:
    """Send one load to the system that the file PEER describes (bench/PEERS.md), and print what came of it."""
    target = _target(peer)
    with Receiver(receiver_port) as receiver:
        wanted = Load(events, connections, rate_per_s, batch)
        found = measure(target, receiver, wanted, Behaviour(failing, hanging))
    click.echo(json.dumps({"calibrate_us": machine.calibrate_us(), "adapter": target.adapter, **found}, indent=1))


@main.command()
@click.option("--events", type=click.IntRange(1), default=20_000, show_default=True)
@_port
def ceiling(events: int, receiver_port: int) -> None:
    """Send straight into the receiver: the most that this bench can do on this machine."""
    with Receiver(receiver_port) as receiver:
        target = Target("receiver", receiver.url)
        for wanted in (Load(events), Load(4_000, rate_per_s=400), Load(16_000, rate_per_s=1600)):
            found = measure(target, receiver, wanted, Behaviour())
            click.echo(json.dumps(found))


def _target(path: Path) -> Target:
    """Raises ClickException where the file does not say what is needed."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        adapter, base_url = document["adapter"], document["base_url"]
        options, pids = document.get("options", {}), document.get("pids", {})
    except (ValueError, KeyError) as error:
        raise click.ClickException(f"{path} is not a peer file as in bench/PEERS.md: {error!r}") from error
    if adapter not in ADAPTERS:
        raise click.ClickException(f"{path}: the adapter must be one of {', '.join(ADAPTERS)}.")
    return Target(adapter, base_url, options, {name: _pid(value) for name, value in pids.items()})


def _pid(value: int | str) -> int:
    """A pid, or the file that holds one. Raises ClickException."""
    if isinstance(value, int):
        return value
    try:
        return int(Path(value).read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise click.ClickException(f"{value} holds no pid: {error}") from error


if __name__ == "__main__":
    main()
