"""The cluster: brokers, leaders and in-sync sets so that a shrink is seen at once, offsets, lag, the bitmap, rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult

from control_room.stack.runtime import BROKERS, State
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.side import Block, Pieces
from control_room.ui.widgets.spark import spark

if TYPE_CHECKING:  # the values are drawn; what reads them is not loaded for it
    from control_room.tracking.kafka_view import KafkaStatus, PartitionStatus

LOW: Final = 32
"""Lines of a terminal below which the rates stand beside each other: else they would not be seen."""

_WAITING: Final = {
    "in_flight": "in flight",
    "retrying": "retrying",
    "parked": "parked",
    "requeuing": "re-queuing",
    "unrecorded": "unrecorded",
}
"""What the dispatcher holds, by its own names."""


class KafkaView(View):
    """View 3."""

    NAME = "kafka"
    DEFAULT_CSS = """
    KafkaView #partitions { height: auto; max-height: 50%; min-height: 6; }
    """

    def content(self) -> ComposeResult:
        """The cluster, the partitions, the group and the rates."""
        yield _block("cluster", "Cluster")
        columns: list[Column[PartitionStatus]] = [
            Column("P", 3, lambda each: f"p{each.number}"),
            Column("LEADER", 6, _leader),
            Column("IN SYNC", 20, _in_sync, grows=True),
            Column("END", 9, lambda each: _figure(each.end_offset), right=True),
            Column("COMMIT", 9, lambda each: _figure(each.committed), right=True),
            Column("LAG", 7, _lag, right=True),
            Column("DONE AHEAD", 10, lambda each: _figure(each.ahead), right=True),
        ]
        found: LineList[PartitionStatus] = LineList(
            columns, lambda each: str(each.number), id="partitions", empty="no partition"
        )
        found.add_class("pane")
        yield found
        yield _block("group", "Group")
        yield _block("rates", "Per second, the last minute")

    def draw(self, snapshot: Snapshot) -> None:
        """Draws all of it."""
        part = snapshot.kafka
        self.query_one("#cluster", Block).say(*_cluster(part.value, stale(part), _down(snapshot)))
        partitions = self.query_one("#partitions", LineList)
        partitions.border_title = f"Topic {harmless(part.value.topic, 60)}" if part.value else "Topic"
        partitions.border_subtitle = "done ahead: complete records beyond a gap, from the commit's bitmap"
        partitions.show(part.value.partitions if part.value else ())
        self.query_one("#group", Block).say(*_group(snapshot))
        self.query_one("#rates", Block).say(*_rates(snapshot, low=self.app.size.height < LOW))


def _block(name: str, title: str) -> Block:
    block = Block(id=name)
    block.border_title = title
    return block


def _down(snapshot: Snapshot) -> frozenset[str]:
    """The members whose process is not there: Kafka goes on counting such a broker until its session is over."""
    return frozenset(
        each.status.name for each in snapshot.members.value or () if each.status.state in (State.STOPPED, State.CRASHED)
    )


def _cluster(kafka: KafkaStatus | None, old: str, down: frozenset[str]) -> Pieces:
    if kafka is None:
        return [(old or "looking", "$text-muted")]
    pieces: Pieces = []
    for name in BROKERS:
        number = int(name.rsplit("-", 1)[1])
        counted, alive = number in kafka.brokers, name not in down
        leads = sum(each.leader == number for each in kafka.partitions)
        words = f"{name} {'✗ gone' if not counted else '●' if alive else '✗ down, Kafka counts it still,'}"
        words += f" leads {leads}" if counted else ""
        words += ", controller" if kafka.controller == number else ""
        pieces.append((f"{words}   ", "$text-success" if counted and alive else "bold $text-error"))
    lag = "?" if kafka.lag is None else f"{kafka.lag:,}"
    pieces.append((f"\nminimum in sync {kafka.min_in_sync}, lag {lag}", ""))
    pieces += [(f"\nnote: {harmless(note, 200)}", "$text-warning") for note in kafka.notes]
    if old:
        pieces.append((f"\n{old}", "bold $text-warning"))
    return pieces


def _leader(each: PartitionStatus) -> Cell:
    return ("none", "bad") if each.leader is None else f"{each.leader}"


def _in_sync(each: PartitionStatus) -> Cell:
    shown = " ".join(
        f"✗{replica}" if replica not in each.in_sync else f"[{replica}]" if replica == each.leader else f" {replica} "
        for replica in sorted(each.replicas)
    )
    short = len(each.in_sync) < len(each.replicas)
    return (f"{shown}  SHRUNK {len(each.in_sync)} of {len(each.replicas)}", "bad") if short else (shown, "good")


def _lag(each: PartitionStatus) -> Cell:
    return ("?", "warn") if each.lag is None else (f"{each.lag:,}", "warn" if each.lag else "")


def _figure(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _group(snapshot: Snapshot) -> Pieces:
    told, kafka = snapshot.dispatcher.value, snapshot.kafka.value
    pieces = _members(kafka)
    if told is None:
        return [*pieces, (stale(snapshot.dispatcher) or "looking", "$text-muted")]
    words = (
        f"phase {harmless(told.get('phase'), 20)} · {told.get('in_flight')} in flight · {told.get('retrying')} retrying"
    )
    words += (
        f" · {told.get('parked')} parked · {told.get('requeuing')} re-queuing · {told.get('unrecorded')} unrecorded"
    )
    pieces.append((words, ""))
    own = sorted(told.get("assigned") or ())
    if kafka is None or own != sorted(number for each in kafka.members for number in each.partitions):
        pieces.append((f"\nthe dispatcher says that it has {_held(own)}", "$text-warning"))
    if told.get("paused"):
        until_s = told.get("paused_until")
        left = f" for {max(0.0, until_s - snapshot.taken_at_s):.0f} s more" if isinstance(until_s, int | float) else ""
        pieces.append((f"\nPAUSED{left}: the merchant fails; the first success ends it", "bold $text-warning"))
    if snapshot.dispatcher.error:
        pieces.append((f"\n{stale(snapshot.dispatcher)}", "bold $text-warning"))
    return pieces


def _members(kafka: KafkaStatus | None) -> Pieces:
    """The group in Kafka's own words; a name that a client gave itself is somebody else's text."""
    if kafka is None:
        return []
    group = harmless(kafka.group, 30)
    if not kafka.group_state:
        return [(f"{group}: Kafka does not tell its members now\n", "$text-warning")]
    style = "" if kafka.group_state == "Stable" else "$text-warning"
    members = [f"{harmless(each.name, 24)} has {_held(each.partitions)}" for each in kafka.members]
    words = f"{group}: {harmless(kafka.group_state, 20)}, {len(members)} member{'s' * (len(members) != 1)}"
    if len(members) == 1:
        return [(f"{words}: {members[0]}\n", style)]
    return [(f"{words}\n", style), *((f"  {each}\n", "") for each in members)]


def _held(partitions: Sequence[int]) -> str:
    return ", ".join(f"p{number}" for number in partitions) or "nothing"


def _rates(snapshot: Snapshot, *, low: bool) -> Pieces:
    """One below the other; beside each other where the terminal is `low`."""
    pieces: Pieces = []
    for name in ("produced", "consumed"):
        series: tuple[float, ...] = getattr(snapshot.pace, name)
        end = "   " if low else "\n"
        pieces += [
            (f"{name:<10}", ""),
            (f"{series[-1] if series else 0:>7.0f} ", "bold"),
            (f"{spark(series, 18 if low else 50)}{end if name == 'produced' else ''}", "$text-accent"),
        ]
    return pieces
