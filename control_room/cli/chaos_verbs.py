"""`chaos` and `heal`: faults with evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from control_room.chaos.catalogue import CATALOGUE, unavailable
from control_room.chaos.clock_step import ClockStep
from control_room.chaos.crash_point import WITHIN_S, CrashPoint, members_of
from control_room.chaos.faults import MERCHANT
from control_room.chaos.journal import journal_paths
from control_room.chaos.link_fault import LinkFault
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.merchant_fields import FIELDS, MODES, Limits
from control_room.cli.context import (
    DURATION,
    Stop,
    explained,
    heal_left_behind,
    json_option,
    narrate,
    print_json,
    runtime_of,
    stack_options,
)
from control_room.exit_codes import FAILED
from control_room.runs.folders import find_run
from control_room.stack.links.modes import FIELDS as LINK_FIELDS
from control_room.stack.links.modes import Kind
from control_room.stack.links.names import LINKS
from control_room.stack.runtime import MEMBERS, Runtime, alike
from control_room.stack.select import resolve_state_dir
from services.common.crash import POINTS

if TYPE_CHECKING:  # imported when a verb runs: `--help` stays quick
    from control_room.chaos.injection import FaultRecord, HealRecord


@click.group()
def chaos() -> None:
    """Break something on purpose, with evidence that it took effect.

    Each fault is journalled on disk before it is applied, in .bruce/faults.jsonl and in the runs that are open.
    `bruce-control heal` undoes what is still open, whoever applied it.
    """


class MemberChoice(click.Choice[str]):
    """The members that a fault can hit, and further replicas of them, such as `dispatcher-2`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it was given, where it is one of them or like one."""
        super().convert(alike(str(value)), param, ctx)
        return str(value)


def _fault_options(verb: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--run", "run", metavar="RUN", help="Journal it into this run too, though it looks closed."),
        click.option("--for", "for_s", type=DURATION, help="Heal it after so long, such as 30s; this command waits."),
        click.option("--preview", is_flag=True, help="Only say what it would hit now."),
        json_option,
        stack_options,
    ):
        verb = decorate(verb)
    return verb


def _apply(
    name: str,
    targets: tuple[str, ...],
    state: Path | None,
    runtime_name: str | None,
    run: str | None,
    as_json: bool,
    preview: bool,
    for_s: float | None,
    params: Mapping[str, Any],
) -> None:
    from control_room.chaos.injection import apply_faults, preview_fault
    from control_room.chaos.overdue import injector

    runtime, state_dir = runtime_of(state, runtime_name), resolve_state_dir(state)
    with explained():
        runtime.endpoints()
        if preview:
            for target in targets:
                click.echo(preview_fault(runtime, name, target, **params))
            return
        runs = [find_run(state_dir / "runs", run)] if run is not None else []
        heal_left_behind(runtime, state)
        journals = journal_paths(state_dir, runs)
        meant = {} if for_s is None else {"until": time.time() + for_s, "injector": injector()}
        records = apply_faults(runtime, name, targets, journals, meant=meant, **params)
    for record in records:
        narrate(_applied(record))
    if for_s is not None:
        _heal_after(runtime, journals, [record.number for record in records], for_s)
    if as_json:
        print_json([record.to_json() for record in records])
    unseen = [record.target for record in records if not record.evidence.ok]
    if unseen:
        raise Stop(f"{name} was not seen to take effect on {', '.join(unseen)}; a run it falls into is UNKNOWN", FAILED)


def _heal_after(runtime: Runtime, journals: list[Path], numbers: list[int], for_s: float) -> None:
    """Waits and heals; on Ctrl-C it heals at once. A kill of this process leaves that to the next command."""
    from control_room.chaos.injection import heal as heal_some
    from control_room.chaos.open_faults import open_faults

    narrate(f"healing in {for_s:g} s; Ctrl-C heals now")
    try:
        time.sleep(for_s)
    finally:
        with explained():
            # One that is over by itself (a crash) is closed already.
            left = {fault.number for fault in open_faults(journals[0])}.intersection(numbers)
            for healed in heal_some(runtime, journals, numbers=left):
                narrate(_undone(healed))


def _applied(record: FaultRecord) -> str:
    facts = ", ".join(f"{key}={value}" for key, value in record.evidence.facts.items())
    return f"fault {record.number}: {record.expect}\n  {'seen' if record.evidence.ok else 'NOT SEEN'}: {facts}"


def _member_verb(name: str) -> click.Command:
    """The verb of a fault that takes members and nothing else."""
    fault = CATALOGUE[name]
    only = fault.targets if len(fault.targets) == 1 else ()
    """Need not be named."""

    @click.command(name, help=f"{fault.summary[0].upper()}{fault.summary[1:]}.")
    @click.argument("members", nargs=-1, required=not only, type=MemberChoice(fault.targets), metavar="MEMBER...")
    @_fault_options
    def verb(members: tuple[str, ...], **options: Any) -> None:
        _apply(name, members or only, params={}, **options)

    return verb


for _name in CATALOGUE:
    if not CATALOGUE[_name].takes:
        chaos.add_command(_member_verb(_name))


def _merchant_options(verb: Callable[..., None]) -> Callable[..., None]:
    """`--mode`, and one option per field of the behaviour."""
    for name, limits in reversed(list(FIELDS.items())):
        verb = click.option(f"--{name.replace('_', '-')}", type=_range(limits), help=limits.words)(verb)
    return click.option("--mode", type=click.Choice(tuple(MODES)), metavar="MODE", help="One of the modes above.")(verb)


def _range(limits: Limits) -> click.FloatRange | click.IntRange:
    if limits.whole:
        return click.IntRange(int(limits.low), int(limits.high))
    return click.FloatRange(limits.low, limits.high)


_MODES_HELP = "\n".join(f"  {mode:<{max(map(len, MODES))}}  {words}" for mode, words in MODES.items())


@chaos.command(
    "merchant",
    help=f"{MerchantBehaviour.summary[0].upper()}{MerchantBehaviour.summary[1:]}.\n\n\b\nModes:\n{_MODES_HELP}",
    short_help=f"{MerchantBehaviour.summary[0].upper()}{MerchantBehaviour.summary[1:]}.",
)
@_merchant_options
@_fault_options
def merchant(mode: str | None, **options: Any) -> None:
    """Its help is the fault's own summary."""
    changes = {"mode": mode, **{name: options.pop(name) for name in FIELDS}}
    _apply(MerchantBehaviour.name, (MERCHANT,), params=changes, **options)


_POINTS_HELP = "\b\n" + "\n".join(f"{name:30} {point.where}" for name, point in POINTS.items())


@chaos.command(CrashPoint.name, help=f"{CrashPoint.summary[0].upper()}{CrashPoint.summary[1:]}.\n\n{_POINTS_HELP}")
@click.argument("point", type=click.Choice(tuple(POINTS)), metavar="POINT")
@click.argument("members", nargs=-1, type=click.Choice(CrashPoint.targets), metavar="[MEMBER]...")
@click.option("--within", type=DURATION, default=WITHIN_S, help="How long to wait until the point is reached.")
@_fault_options
def crash_point(point: str, members: tuple[str, ...], within: float, **options: Any) -> None:
    """Its help is the fault's own summary, and the points."""
    _apply(CrashPoint.name, members or members_of(point)[:1], params={"point": point, "within": within}, **options)


@chaos.command(ClockStep.name, help=f"{ClockStep.summary[0].upper()}{ClockStep.summary[1:]}.")
@click.argument("members", nargs=-1, required=True, type=MemberChoice(ClockStep.targets), metavar="MEMBER...")
@click.option("--by", required=True, metavar="STEP", help="Forward or back, and how far: +90s, -60m.")
@_fault_options
def clock_step(members: tuple[str, ...], by: str, **options: Any) -> None:
    """Its help is the fault's own summary."""
    _apply(ClockStep.name, members, params={"by": by}, **options)


_LINK_MODES = {
    Kind.REFUSE: "nobody listens, and connections that are open are reset",
    Kind.SILENCE: "connections stay and can be made, and nothing goes through",
    Kind.SLOW: "everything comes later: --latency-ms, --jitter-ms, --bytes-per-s",
    Kind.RESET_AFTER: "a connection is reset once --bytes went through it, both directions together",
}
_LINK_HELP = "\n".join(f"  {mode:<11}  {words}" for mode, words in _LINK_MODES.items())


def _link_options(verb: Callable[..., None]) -> Callable[..., None]:
    """`--mode`, and one option per number of a mode."""
    for name, limits in reversed(list(LINK_FIELDS.items())):
        whole = name == "bytes"
        kind = click.IntRange(int(limits.low), int(limits.high)) if whole else click.FloatRange(limits.low, limits.high)
        verb = click.option(f"--{name.replace('_', '-')}", type=kind, help=limits.words)(verb)
    modes = click.Choice([mode.value for mode in _LINK_MODES])
    return click.option("--mode", type=modes, metavar="MODE", required=True, help="One of the modes above.")(verb)


_LINK_SUMMARY = f"{LinkFault.summary[0].upper()}{LinkFault.summary[1:]}."
_LINKS_HELP = "Links (of one broker or replica alone: dispatcher:kafka-2):\n" + "\n".join(f"  {name}" for name in LINKS)


@chaos.command(
    LinkFault.name,
    help=f"{_LINK_SUMMARY}\n\n\b\nModes:\n{_LINK_HELP}\n\n\b\n{_LINKS_HELP}",
    short_help=_LINK_SUMMARY,
)
@click.argument("links", nargs=-1, required=True, type=click.Choice(LinkFault.targets), metavar="LINK...")
@_link_options
@_fault_options
def link(links: tuple[str, ...], mode: str, **options: Any) -> None:
    """Its help is the fault's own summary, the modes and the links."""
    params = {"mode": mode, **{name: options.pop(name) for name in LINK_FIELDS}}
    _apply(LinkFault.name, links, params=params, **options)


@chaos.command("list")
@stack_options
@json_option
def list_faults(state: Path | None, runtime_name: str | None, as_json: bool) -> None:
    """The faults there are, those that are not available here with the reason, and those that are open."""
    from rich.console import Console
    from rich.table import Table

    from control_room.chaos.open_faults import open_faults

    with explained():
        still = open_faults(resolve_state_dir(state) / "faults.jsonl")
        impossible = unavailable(runtime_of(state, runtime_name))
    if as_json:
        known = {
            name: {"summary": fault.summary, "targets": list(fault.targets), "unavailable": impossible.get(name)}
            for name, fault in CATALOGUE.items()
        }
        print_json({"faults": known, "open": [fault.to_json() for fault in still]})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("FAULT", "WHAT IT DOES", "ON"):
        table.add_column(name, no_wrap=name == "FAULT")
    for name, fault in CATALOGUE.items():
        on = "any member" if fault.targets == MEMBERS else ", ".join(fault.targets)
        if fault is LinkFault:
            on = ", ".join(LINKS)
        table.add_row(name, fault.summary, on)
    Console().print(table)
    for name, reason in impossible.items():
        click.echo(f"not available here: {name}: {reason}")
    for each in still:
        click.echo(f"open: fault {each.number} {each.name} {each.target}: {each.expect}")
    if not still:
        click.echo("no fault is open")


@click.command()
@click.argument("members", nargs=-1, metavar="[MEMBER|LINK]...")
@stack_options
@json_option
def heal(members: tuple[str, ...], state: Path | None, runtime_name: str | None, as_json: bool) -> None:
    """Undo every open fault, or those on the members named, and wait until each is seen to be undone."""
    from control_room.chaos.injection import heal as heal_some
    from control_room.chaos.injection import heal_all

    runtime, state_dir = runtime_of(state, runtime_name), resolve_state_dir(state)
    with explained():
        journals = journal_paths(state_dir)
        healed = heal_some(runtime, journals, targets=members) if members else heal_all(runtime, journals)
    for record in healed:
        narrate(_undone(record))
    if not healed:
        narrate("nothing to heal: no fault is open")
    if as_json:
        print_json([record.to_json() for record in healed])
    failed = [record.fault.target for record in healed if not record.evidence.ok]
    if failed:
        raise Stop(f"not seen to work again: {', '.join(failed)}; look at: bruce-control status", FAILED)


def _undone(record: HealRecord) -> str:
    facts = ", ".join(f"{key}={value}" for key, value in record.evidence.facts.items())
    seen = "seen" if record.evidence.ok else "NOT SEEN"
    return f"healed fault {record.fault.number}, {record.fault.name} {record.fault.target}\n  {seen}: {facts}"
