"""One snapshot of the pipeline as tables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from control_room.stack.links.modes import Kind
from control_room.stack.runtime import MemberStatus, State
from control_room.tracking.kafka_view import KafkaStatus
from control_room.tracking.parts import Part
from control_room.tracking.pipeline import PipelineStatus
from control_room.tracking.text import harmless

_LOOK = {
    State.RUNNING: ("●", "green"),
    State.STARTING: ("◐", "yellow"),
    State.FROZEN: ("❄", "cyan"),
    State.STOPPED: ("○", "dim"),
    State.CRASHED: ("✗", "red"),
}


def drawn(snapshot: PipelineStatus, ports: Mapping[str, int]) -> Group:
    """The snapshot as a person reads it: members, Kafka, outbox, dispatcher, merchant."""
    rows: list[Any] = [_members(snapshot.members, ports)]
    rows += _kafka(snapshot.kafka)
    rows.append(_line("outbox", snapshot.outbox, lambda o: f"{o.pending} pending, oldest {o.oldest_age_s:.1f} s"))
    rows.append(_line("dispatcher", snapshot.dispatcher, _dispatcher))
    rows.append(_line("merchant", snapshot.merchant, lambda b: ", ".join(f"{key} {value}" for key, value in b.items())))
    if snapshot.links.value != {}:
        rows.append(_line("links", snapshot.links, _links))
    return Group(*rows)


def _members(part: Part[list[MemberStatus]], ports: Mapping[str, int]) -> Table | Text:
    if part.value is None:
        return Text(f"members: {part.error}", style="red")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("MEMBER", "STATE"):
        table.add_column(name, no_wrap=True)
    for name in ("PID", "PORT", "UPTIME", "RST", "CPU s", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("READY")
    for member in part.value:
        glyph, colour = _LOOK[member.state]
        uptime = _duration(time.time() - member.started_at_s) if member.started_at_s and member.pid else "-"
        ready = Text("yes", style="green") if member.ready else Text(harmless(member.reason or "no"), style="red")
        table.add_row(
            member.name,
            Text(f"{glyph} {member.state.value}", style=colour),
            str(member.pid or "-"),
            str(ports.get(member.name, "-")),
            uptime,
            str(member.restarts),
            f"{member.cpu_s:.1f}",
            f"{member.memory_bytes / 2**20:.0f}",
            ready,
        )
    total = sum(member.memory_bytes for member in part.value) / 2**20
    table.add_row("", "", "", "", "", "", "", f"{total:.0f}", "")
    return table


def _kafka(part: Part[KafkaStatus]) -> list[Any]:
    if part.value is None:
        return [Text(f"kafka       {part.error}", style="red")]
    kafka = part.value
    head = f"kafka       brokers {list(kafka.brokers)}, controller {kafka.controller}, topic {kafka.topic}"
    lines: list[Any] = [Text(head + f", lag {'?' if kafka.lag is None else kafka.lag}" + _stale(part))]
    for p in kafka.partitions:
        short = len(p.in_sync) < len(p.replicas)
        text = f"  p{p.number}  leader {p.leader}  in-sync {list(p.in_sync)} of {list(p.replicas)}"
        text += f"  end {p.end_offset}  committed {p.committed}  lag {p.lag}"
        lines.append(Text(text + ("  SHRUNK" if short else ""), style="yellow" if short else ""))
    return lines + [Text(f"  note: {note}", style="yellow") for note in kafka.notes]


def _dispatcher(told: dict[str, Any]) -> str:
    words = f"{told.get('in_flight')} in flight, {told.get('retrying')} retrying, {told.get('parked')} parked"
    words += f", partitions {told.get('assigned')}"
    if told.get("paused"):
        until = told.get("paused_until")
        left = f" for {max(0.0, until - time.time()):.0f} s more" if until else ""
        words += f", PAUSED{left}"
    return words


def _links(told: dict[str, Any]) -> str:
    doors = told["doors"]
    faulted = [f"{name} {state['mode']}" for name, state in doors.items() if state["mode"] != Kind.PASS]
    count = sum(state["open"] for state in doors.values())
    words = f"{len(doors)} doors, {count} connections, pid {told['pid']}, CPU {told['cpu_s']:.1f} s; "
    return words + (f"FAULTED: {', '.join(faulted)}" if faulted else "all pass")


def _line(name: str, part: Part[Any], words: Any) -> Text:
    if part.value is None:
        return Text(f"{name:<11} {harmless(part.error)}", style="red")
    return Text(f"{name:<11} {harmless(words(part.value))}{_stale(part)}")


def _stale(part: Part[Any]) -> str:
    return f"  (stale, {part.age_s:.0f} s old: {harmless(part.error)})" if part.error else ""


def _duration(seconds: float) -> str:
    minutes, s = divmod(int(max(0.0, seconds)), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"
