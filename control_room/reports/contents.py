"""All that the reports of a run are made of, gathered once: verdict, documents, figures, curves, uncommon ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_room.reports.curves import Curves, curves
from control_room.reports.figures import Figures, end_of, figures, recovered_after
from control_room.reports.merchant_load import FIRST_SECONDS, MerchantLoad, merchant_load
from control_room.reports.uncommon import Uncommon
from control_room.verify.chained import document
from control_room.verify.deliveries import Delivery
from control_room.verify.faults import Fault
from control_room.verify.files import DRAIN, RUN
from control_room.verify.judge import check
from control_room.verify.manifest import EvidenceError
from control_room.verify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the stack came back after one fault."""

    fault: Fault
    first_delivery_s: float | None
    """From the fault's end to the next first delivery."""
    level: int
    """The backlog when it was announced."""
    peak: int
    """The highest backlog from then until it was back at `level`, else until the run's end."""
    drained_s: float | None
    """From the fault's end until the backlog was back at `level`; None where it never was."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What every report of one run shows."""

    verdict: Verdict
    run: dict[str, Any]
    """run.json; empty where it is missing or damaged (the verdict says so)."""
    drain: dict[str, Any]
    figures: Figures
    curves: Curves
    uncommon: Uncommon

    @property
    def started_at(self) -> float | None:
        """Unix seconds at which the run began, as its client wrote down."""
        return _number(self.run.get("started_at") or self.run.get("at"))

    @property
    def drained_at(self) -> float | None:
        """Unix seconds at which the wait for the drain ended."""
        return _number(self.drain.get("ended_at"))

    def recoveries(self) -> list[Recovery]:
        """Each fault with what came after it."""
        return [self._recovery(fault) for fault in self.verdict.faults]

    def merchant_loads(self) -> list[MerchantLoad]:
        """What the merchant was asked during and after each fault that lay on it for a while."""
        found = []
        for fault in self.verdict.faults:
            _, _, back_at = self.curves.backlog_after(self.figures, fault.at, end_of(fault))
            until = self.curves.axis.end if back_at is None else max(back_at, end_of(fault) + FIRST_SECONDS)
            found.append(merchant_load(fault, self.curves.asked, until))
        return [load for load in found if load is not None]

    def _recovery(self, fault: Fault) -> Recovery:
        level, peak, back_at = self.curves.backlog_after(self.figures, fault.at, end_of(fault))
        drained_s = None if back_at is None else max(0.0, back_at - end_of(fault))
        return Recovery(fault, recovered_after(fault, self.figures), level, peak, drained_s)


def gather_contents(run_dir: Path, verdict: Verdict | None = None) -> Contents:
    """Reads the run's folder, and each of its ids once.

    Args:
        verdict: as `check` gave it for this folder; it is asked for where not given.
    """
    found = verdict if verdict is not None else check(run_dir)
    run, drain = _readable(run_dir / RUN), _readable(run_dir / DRAIN)
    uncommon = Uncommon()

    def rows() -> Iterator[Delivery]:
        for row in found.deliveries or ():
            uncommon.see(row)
            yield row

    counted = figures(rows())
    times = (run.get("started_at"), drain.get("ended_at"))
    edges = [float(at) for at in times if isinstance(at, int | float)]
    return Contents(found, run, drain, counted, curves(run_dir, counted, found.faults, edges), uncommon)


def _readable(path: Path) -> dict[str, Any]:
    try:
        return document(path) or {}
    except EvidenceError:
        return {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
