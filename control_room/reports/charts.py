"""Curves as shapes: positions in per cent and in units of a stretched canvas. Pure; no markup is made here.

Everything horizontal is in per cent of the drawing's width, so that one drawing fits a phone, a screen and a page
without scaling its letters. Paths, which know no per cent, lie on a canvas of CANVAS_WIDTH units that is stretched.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from control_room.reports.curves import Axis, Curves, Probe
from control_room.reports.figures import Figures
from control_room.reports.merchant_load import CLOSE_UP_AFTER_S, CLOSE_UP_BEFORE_S, MerchantLoad
from control_room.verify.arithmetic import PLACES
from control_room.verify.faults import Fault

CANVAS_WIDTH: Final = 1000
CANVAS_HEIGHT: Final = 100
LANES: Final = 8
"""Rows of the fault strip."""
_LABEL_SHARE: Final = 0.08
"""How much of the width a fault's number needs on a phone."""
_MOST_POINTS: Final = 360
_TIME_STEPS_S: Final = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)
_MOST_TICKS: Final = 5
PLACE_WORDS: Final = {
    "outbox": "in outbox",
    "kafka": "in Kafka",
    "in_flight": "in flight",
    "retrying": "retrying",
    "requeued": "re-queued",
    "dead": "dead-lettered",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis."""

    share: float
    """Where, 0 to 1, from the left or from the bottom."""
    label: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One line or area."""

    kind: str
    """Which: the name of its colour."""
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing over the time of the run."""

    title: str
    summary: str
    """What it shows, for those who do not see it."""
    shapes: tuple[Shape, ...]
    heights: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class FaultBar:
    """A fault on the time axis."""

    fault: Fault
    share: float
    width: float
    lane: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bar of the latency histogram."""

    label: str
    count: int
    cumulative: float
    """Share of all deliveries up to here."""
    width: float
    """Of the longest bar, 0 to 1."""


def time_ticks(axis: Axis) -> tuple[Tick, ...]:
    """Moments on the axis, in round numbers after its begin."""
    fitting = (step for step in _TIME_STEPS_S if axis.length_s / step <= _MOST_TICKS)
    step_s = next(fitting, axis.length_s / _MOST_TICKS)
    count = int(axis.length_s / step_s + 1e-9)
    return tuple(Tick(index * step_s / axis.length_s, _after(index * step_s)) for index in range(count + 1))


def _after(seconds: float) -> str:
    if not seconds:
        return "0"
    if seconds >= 3600:
        return f"+{seconds / 3600:.3g} h"
    return f"+{seconds / 60:.3g} min" if seconds >= 120 else f"+{seconds:.3g} s"


def throughput_chart(curves: Curves) -> Chart:
    """First 201 answers and first deliveries, per second."""
    top = _round_up(max((*curves.accepted_per_s, *curves.delivered_per_s), default=0.0))
    shapes = tuple(
        Shape(kind, kind, _steps(values, top))
        for kind, values in (("accepted", curves.accepted_per_s), ("delivered", curves.delivered_per_s))
    )
    summary = f"accepted and delivered per second over the run; the scale ends at {top:,g} per second"
    return Chart("Throughput, per second", summary, shapes, _heights(top))


def merchant_chart(curves: Curves) -> Chart | None:
    """Requests at the merchant per second; None where it wrote down none."""
    if not curves.asked:
        return None
    highest = max(curves.asked_per_s)
    top = _round_up(highest)
    summary = f"requests that reached the merchant, per second, whatever it answered; at most {highest:,.4g}"
    shape = Shape("asked", "asked", _steps(curves.asked_per_s, top))
    return Chart("Requests at the merchant, per second", summary, (shape,), _heights(top))


def close_up(load: MerchantLoad) -> tuple[Chart, tuple[Tick, ...]]:
    """Requests at the merchant around the end of a fault on it, and the seconds from that end: a ramp, or a herd."""
    top = _round_up(max(load.close_up_per_s))
    title = f"Requests at the merchant around the end of fault {load.fault.number}, per second"
    summary = f"the rate from {CLOSE_UP_BEFORE_S:g} s before the fault's end to {CLOSE_UP_AFTER_S:g} s after it"
    whole_s = CLOSE_UP_BEFORE_S + CLOSE_UP_AFTER_S
    ticks = tuple(
        Tick((CLOSE_UP_BEFORE_S + at) / whole_s, f"{at:+g} s" if at else "end") for at in (-5, 0, 1, 2, 3, 5, 10)
    )
    return Chart(title, summary, (Shape("asked", "asked", _steps(load.close_up_per_s, top)),), _heights(top)), ticks


def backlog_chart(curves: Curves) -> Chart | None:
    """Acknowledged and not delivered; None where nothing was accepted."""
    if not curves.backlog:
        return None
    width = math.ceil(len(curves.backlog) / _MOST_POINTS)
    points = [max(curves.backlog[at : at + width]) for at in range(0, len(curves.backlog), width)]
    top = _round_up(max(points))
    step = CANVAS_WIDTH / max(1, len(points) - 1)
    line = " ".join(f"L{index * step:.1f} {_y(value, top):.1f}" for index, value in enumerate(points))
    path = f"M0 {CANVAS_HEIGHT} {line} L{CANVAS_WIDTH} {CANVAS_HEIGHT}"
    summary = f"acknowledged and not yet delivered; at most {max(points):,}, at the end {curves.backlog[-1]:,}"
    return Chart("Backlog: acknowledged, not delivered", summary, (Shape("backlog", "backlog", path),), _heights(top))


def places_chart(curves: Curves) -> Chart | None:
    """Where the backlog lay, by the probes; None where fewer than two were taken or nothing was ever left."""
    probes = curves.probes
    used = [index for index in range(len(PLACES)) if any(probe.places[index] for probe in probes)]
    if len(probes) < 2 or not used:
        return None
    top = _round_up(max(sum(probe.places) for probe in probes))
    shapes, below = [], [0] * len(probes)
    for index in used:
        above = [floor + probe.places[index] for floor, probe in zip(below, probes, strict=True)]
        name = PLACES[index]
        shapes.append(Shape(name.replace("_", "-"), PLACE_WORDS[name], _band(curves.axis, probes, below, above, top)))
        below = above
    words = ", ".join(shape.label for shape in shapes)
    return Chart("Where the backlog lay", f"the backlog by place over the run: {words}", tuple(shapes), _heights(top))


def _band(axis: Axis, probes: Sequence[Probe], below: Sequence[int], above: Sequence[int], top: float) -> str:
    across = [axis.share(probe.at) * CANVAS_WIDTH for probe in probes]
    there = [f"{x:.1f} {_y(value, top):.1f}" for x, value in zip(across, above, strict=True)]
    back = [f"{x:.1f} {_y(value, top):.1f}" for x, value in zip(across, below, strict=True)]
    return "M" + " L".join((*there, *reversed(back))) + " Z"


def _steps(values: Sequence[float], top: float) -> str:
    width = CANVAS_WIDTH / max(1, len(values))
    parts = [f"V{_y(value, top):.1f} H{(index + 1) * width:.1f}" for index, value in enumerate(values)]
    return f"M0 {CANVAS_HEIGHT} " + " ".join(parts) + f" V{CANVAS_HEIGHT}"


def _y(value: float, top: float) -> float:
    return CANVAS_HEIGHT * (1 - max(0.0, min(value, top)) / top)


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15 ...; 1 for nothing at all."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8) if value <= power * step * (1 + 1e-9)), power * 10)


def _heights(top: float) -> tuple[Tick, ...]:
    return tuple(Tick(share, f"{top * share:,.4g}") for share in (0.5, 1.0))


def fault_bars(faults: Sequence[Fault], axis: Axis) -> tuple[FaultBar, ...]:
    """The faults in as few rows as they need, at most LANES; those that fit in none are left out."""
    free = [0.0] * LANES
    bars = []
    for fault in sorted(faults, key=lambda fault: fault.at):
        begin, end = axis.share(fault.at), axis.share(fault.healed_at or fault.at)
        lane = next((lane for lane in range(LANES) if free[lane] <= begin), None)
        if lane is not None:
            free[lane] = max(end, begin + _LABEL_SHARE) + 0.005
            bars.append(FaultBar(fault, begin, max(0.0, end - begin), lane))
    return tuple(bars)


_EDGES_S: Final = tuple(float(f"{step}e{power}") for power in range(-3, 6) for step in (1, 2, 5))


def latency_buckets(found: Figures) -> tuple[Bucket, ...]:
    """The latencies in a series of 1, 2, 5, 10 ..., from the first bucket that holds any to the last."""
    total = len(found.latencies_s)
    ends = [bisect_right(found.latencies_s, edge) for edge in _EDGES_S] + [total]
    counts = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return ()
    labels = [f"≤ {_length(edge)}" for edge in _EDGES_S] + [f"> {_length(_EDGES_S[-1])}"]
    most = max(counts)
    return tuple(
        Bucket(labels[index], counts[index], ends[index] / total, counts[index] / most)
        for index in range(used[0], used[-1] + 1)
    )


def _length(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:,g} s"
