"""How a run went over time: throughput, backlog, and where the backlog lay. Pure, and of a fixed number of points."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.reports.figures import Figures, end_of
from control_room.reports.merchant_load import request_times
from control_room.verify.arithmetic import PLACES
from control_room.verify.chained import records
from control_room.verify.faults import Fault
from control_room.verify.files import PROBES
from control_room.verify.manifest import EvidenceError

BINS: Final = 180
"""Of the throughput curve: about two per millimetre of a page, and as many as a phone has pixels to show."""
GRID: Final = 1800
"""Points of the backlog curve: fine enough that a recovery time read off it is right to 0.06 % of the run."""
MOST_PROBES: Final = 400
_FIRST_TIME: Final = 1.0
_LAST_TIME: Final = 253_402_300_799.0
"""The end of the year 9999: whatever lies beyond is a damaged number, and no axis is stretched to it."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of time, in Unix seconds."""

    begin: float
    end: float

    @property
    def length_s(self) -> float:
        """Never 0."""
        return max(self.end - self.begin, 0.001)

    def share(self, at: float) -> float:
        """Where on the axis a time lies, 0 to 1; what lies outside is put at its edge."""
        return min(1.0, max(0.0, (at - self.begin) / self.length_s))


@dataclass(frozen=True, slots=True)
class Probe:
    """What was left at one moment, and where."""

    at: float
    places: tuple[int, ...]
    """One count per name of PLACES."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one run over one axis."""

    axis: Axis
    accepted_per_s: tuple[float, ...]
    """First 201 answers per second, one value per bin."""
    delivered_per_s: tuple[float, ...]
    asked: array[float]
    """Unix seconds of every request that the merchant wrote down, ascending."""
    asked_per_s: tuple[float, ...]
    backlog: tuple[int, ...]
    """Acknowledged and not delivered, at GRID + 1 moments from the axis's begin to its end."""
    probes: tuple[Probe, ...]

    def backlog_after(self, found: Figures, begin: float, end: float) -> tuple[int, int, float | None]:
        """The backlog at `begin`, its peak since, and when after `end` it was back (Unix seconds; None: never).

        Exact at both moments; between them and after, as fine as the grid.
        """
        level, peak = found.backlog_at(begin), max(found.backlog_at(begin), found.backlog_at(end))
        if not self.backlog:
            return level, peak, None
        first, last = math.ceil(self.axis.share(begin) * GRID), math.ceil(self.axis.share(end) * GRID)
        peak = max((peak, *self.backlog[first:last]))
        if found.backlog_at(end) <= level:
            return level, peak, end
        for index in range(last, GRID + 1):
            peak = max(peak, self.backlog[index])
            if self.backlog[index] <= level:
                return level, peak, self.axis.begin + index / GRID * self.axis.length_s
        return level, peak, None


def curves(run_dir: Path, found: Figures, faults: Sequence[Fault], edges: Iterable[float]) -> Curves:
    """The curves of a run.

    Args:
        edges: further moments (Unix seconds) that the axis must reach, such as the run's begin.
    """
    probes = read_probes(run_dir)
    asked = request_times(run_dir)
    axis = _axis(found, faults, probes, edges)
    return Curves(
        axis,
        _per_second(found.accepted_at, axis),
        _per_second(found.delivered_at, axis),
        asked,
        _per_second(asked, axis),
        _backlog(found, axis) if found.opened_at else (),
        probes,
    )


def _axis(found: Figures, faults: Sequence[Fault], probes: Sequence[Probe], edges: Iterable[float]) -> Axis:
    moments = [*edges]
    for times in (found.accepted_at, found.delivered_at):
        moments += times[:1]
        moments += times[-1:]
    moments += [at for fault in faults for at in (fault.at, end_of(fault))]
    moments += [probe.at for probe in probes]
    sane = [at for at in moments if _FIRST_TIME <= at <= _LAST_TIME]
    return Axis(min(sane), max(sane)) if sane else Axis(0.0, 1.0)


def _per_second(times: array[float], axis: Axis) -> tuple[float, ...]:
    width_s = axis.length_s / BINS
    edges = [bisect_right(times, axis.begin + index * width_s) for index in range(1, BINS)]
    counts = [0, *edges, len(times)]
    return tuple((counts[index + 1] - counts[index]) / width_s for index in range(BINS))


def _backlog(found: Figures, axis: Axis) -> tuple[int, ...]:
    step_s = axis.length_s / GRID
    moments = [axis.begin + index * step_s for index in range(GRID)] + [axis.end]
    return tuple(found.backlog_at(at) for at in moments)


def read_probes(run_dir: Path) -> tuple[Probe, ...]:
    """The run's probes, thinned out evenly where there are more than MOST_PROBES.

    Damage ends them early: they only illustrate, and the verdict names the damage.
    """
    kept: list[Probe] = []
    stride = 1
    try:
        for number, record in enumerate(records(run_dir / PROBES)):
            if number % stride:
                continue
            kept.append(Probe(float(record["at"]), tuple(max(0, int(record.get(name, 0))) for name in PLACES)))
            if len(kept) > MOST_PROBES:
                kept, stride = kept[::2], stride * 2
    except (EvidenceError, KeyError, TypeError, ValueError):
        pass
    return tuple(kept)
