"""The curves of a run as lines of text: throughput and backlog over its time, and where the faults lay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from control_room.ui.widgets.chrome import clock, duration
from control_room.ui.widgets.spark import spark

if TYPE_CHECKING:  # the values are drawn; what makes them is loaded when a run is opened
    from control_room.reports.curves import Curves
    from control_room.verify.faults import Fault

WIDTH: Final = 50
"""In cells: with its words beside it a curve fits the narrowest screen."""
_LABEL: Final = 12


def curve_lines(curves: Curves, faults: Sequence[Fault]) -> list[str]:
    """A line for each curve with its peak, one for the faults, and the time below."""
    lines = [
        _line("accepted/s", curves.accepted_per_s, _mean),
        _line("delivered/s", curves.delivered_per_s, _mean),
        _line("asked/s", curves.asked_per_s, _mean),
        _line("backlog", curves.backlog, max),
    ]
    if faults:
        marks = [" "] * WIDTH
        for fault in faults:
            marks[min(WIDTH - 1, int(curves.axis.share(fault.at) * WIDTH))] = "!"
        lines.append(f"{'faults':<{_LABEL}}        {''.join(marks)}")
    begin, end = clock(curves.axis.begin), clock(curves.axis.end)
    took = f"{duration(curves.axis.length_s)} in all".center(WIDTH - len(begin) - len(end))
    return [*lines, f"{'':<{_LABEL}}        {begin}{took}{end}"]


def _line(label: str, values: Sequence[float], put_together: Callable[[Sequence[float]], float]) -> str:
    shown = shortened(values, WIDTH, put_together)
    peak = max(values, default=0)
    return f"{label:<{_LABEL}}{f'{peak:,.0f}' if peak >= 10 else f'{peak:.2g}':>7} {spark(shown, WIDTH)}"


def shortened(values: Sequence[float], width: int, put_together: Callable[[Sequence[float]], float]) -> list[float]:
    """`values` as at most `width` values, each put together of those that fall on its place."""
    if len(values) <= width:
        return list(values)
    edges = [round(index * len(values) / width) for index in range(width + 1)]
    return [put_together(values[begin:end]) for begin, end in pairwise(edges)]


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)
