"""The left column of a wide terminal: members, faults, Kafka and the flow, whatever view is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Vertical

from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.widgets.chrome import Line, duration
from control_room.ui.widgets.spark import spark

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.tracking.kafka_view import PartitionStatus
_SPARK: Final = 30


class Block(Line):
    """Lines in a frame."""

    DEFAULT_CSS = """
    Block { height: auto; border: round $primary 60%; border-title-style: bold; border-title-color: $foreground;
        border-subtitle-color: $foreground 70%; }
    """


class Side(Vertical):
    """The column."""

    def compose(self) -> ComposeResult:
        """Its blocks."""
        for name, title in (
            ("members", "Stack"),
            ("faults", "Faults"),
            ("kafka", "Kafka"),
            ("flow", "Flow per second"),
            ("latency", "Latency, accepted to delivered"),
        ):
            block = Block(id=f"side-{name}")
            block.border_title = title
            yield block

    def show(self, snapshot: Snapshot) -> None:
        """Draws it."""
        for name, pieces in (
            ("members", _members(snapshot)),
            ("faults", _faults(snapshot)),
            ("kafka", _kafka(snapshot)),
            ("flow", _flow(snapshot)),
            ("latency", _latency(snapshot)),
        ):
            self.query_one(f"#side-{name}", Block).say(*pieces)


Pieces = list[tuple[str, str]]


def _members(snapshot: Snapshot) -> Pieces:
    from control_room.ui.views.stack import LOOKS  # the views import the widgets

    pieces: Pieces = []
    for member in snapshot.members.value or ():
        status = member.status
        glyph, tone = LOOKS[status.state]
        share = "" if member.cpu_share is None or status.pid is None else f"{member.cpu_share:>5.0%}"
        memory = f"{status.memory_bytes / 2**20:>5.0f} MiB" if status.pid else ""
        said = f"{share:>5} {memory:>9}" if status.ready else harmless(status.reason or status.state.value, 30)
        pieces += [
            (f"{glyph} ", _style(tone)),
            (f"{status.name:<17} ", ""),
            (f"{said}\n", "" if status.ready else "$text-error"),
        ]
    return _ended(pieces, snapshot.members.error or "no member")


def _faults(snapshot: Snapshot) -> Pieces:
    pieces: Pieces = []
    view = snapshot.faults.value
    for fault in view.running if view else ():
        left = "until healed" if fault.until_s is None else f"heals in {duration(fault.until_s - snapshot.taken_at_s)}"
        seen = {True: "✓ seen", False: "✗ not seen", None: "… looking"}[fault.verified]
        what = harmless(f"{fault.name} {fault.target}", 24)
        pieces.append((f"! {what}  {seen}, {left}\n", "$text-error"))
    return _ended(pieces, snapshot.faults.error or "none is open")


def _kafka(snapshot: Snapshot) -> Pieces:
    kafka = snapshot.kafka.value
    if kafka is None:
        return [(harmless(snapshot.kafka.error, 120), "$text-muted")]
    lag = "?" if kafka.lag is None else f"{kafka.lag:,}"
    pieces: Pieces = [
        (f"brokers {' '.join(map(str, kafka.brokers))}   controller {kafka.controller}   lag {lag}\n", "")
    ]
    for each in kafka.partitions:
        end, behind = ("?" if figure is None else figure for figure in (each.end_offset, each.lag))
        pieces += [(f"p{each.number}  ", "bold"), *in_sync(each), (f"  end {end}  lag {behind}\n", "")]
    if snapshot.kafka.error:
        pieces.append((f"stale, {duration(snapshot.kafka.age_s)} old\n", "$text-warning"))
    return _ended(pieces, "no partition")


def in_sync(partition: PartitionStatus) -> Pieces:
    """Each replica in its place: the leader in brackets, one that fell out struck by a cross."""
    pieces: Pieces = []
    for replica in sorted(partition.replicas):
        if replica not in partition.in_sync:
            pieces.append((f" ✗{replica} ", "bold $text-error"))
        elif replica == partition.leader:
            pieces.append((f" [{replica}]", "bold $text-success"))
        else:
            pieces.append((f"  {replica} ", "$text-success"))
    if partition.leader is None:
        pieces.append(("  no leader", "bold $text-error"))
    return pieces


def _flow(snapshot: Snapshot) -> Pieces:
    pieces: Pieces = []
    for name in ("accepted", "produced", "delivered", "failed"):
        series: tuple[float, ...] = getattr(snapshot.pace, name)
        now = series[-1] if series else 0.0
        pieces += [(f"{name:<10}", ""), (f"{now:>7.0f} ", "bold"), (f"{spark(series, _SPARK)}\n", "$text-accent")]
    return _ended(pieces, "")


def _latency(snapshot: Snapshot) -> Pieces:
    """Of the latest deliveries, whatever the list of transactions shows."""
    listing = snapshot.transactions.value
    took_s = sorted(listing.latencies_s) if listing is not None else []
    if not took_s:
        return [("nothing was delivered yet", "$text-muted")]
    half, most = (took_s[min(len(took_s) - 1, int(share * len(took_s)))] for share in (0.5, 0.95))
    words = f"p50 {_seconds(half)}   p95 {_seconds(most)}   max {_seconds(took_s[-1])}"
    return [(words, ""), (f"   latest {len(took_s)}", "$text-muted")]


def _seconds(took_s: float) -> str:
    return f"{took_s * 1000:.0f} ms" if took_s < 1 else duration(took_s)


def _ended(pieces: Pieces, empty: str) -> Pieces:
    """Without the last line break; `empty` where there is nothing."""
    if not pieces:
        return [(harmless(empty, 120), "$text-muted")]
    *rest, (text, style) = pieces
    return [*rest, (text.rstrip("\n"), style)]


def _style(tone: str) -> str:
    styles = {"good": "$text-success", "warn": "$text-warning", "bad": "$text-error", "info": "$text-accent"}
    return styles.get(tone, "$text-muted")
