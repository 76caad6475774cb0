"""The benchmark: a run without faults whose ledger must balance, with what it cost each member."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.chaos.journal import journal_paths
from control_room.replay.options import ReplayOptions
from control_room.replay.progress import Progress
from control_room.replay.source import fingerprint
from control_room.reports.figures import Figures, figures
from control_room.runs.background import BackgroundReplay
from control_room.runs.begin import begin_run
from control_room.runs.behaviour import failure_rate
from control_room.runs.meter import Meter
from control_room.runs.prove import prove
from control_room.stack.runtime import Runtime
from control_room.verify import Verdict

_POLL_S: Final = 0.2
_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

Narrate = Callable[[str], None]
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What is measured."""

    events: int = 20_000
    concurrency: int = 64
    """Closed loop: requests on their way at once."""
    rate_per_s: float | None = None
    """Open loop at this rate instead; latency counts from when a payment was due."""
    batch: int = 1
    """Payments in one request."""
    warm_up: int = 2_000
    """Payments sent before, in the same way, and not counted: caches and compilers are then warm."""
    failure_rate: float = 0.0
    deadline_s: float = 300.0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What was measured. Times are of this machine, on this day; CPU and ratios travel better."""

    plan: BenchPlan
    run_dir: Path
    verdict: Verdict
    summary: Progress
    delivered: Figures
    sending_s: float
    """From the first request to the last answer."""
    until_delivered_s: float
    """From the first request to the last first delivery."""
    cpu_s: Mapping[str, float]
    """CPU-seconds from the first request to the end of the drain, by member."""
    client_cpu_s: float
    peak_memory_bytes: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As JSON types, units in the names."""
        events = max(1, self.summary.accepted)
        cpu = {name: round(1000 * seconds / events, 3) for name, seconds in self.cpu_s.items()}
        return {
            "run": self.verdict.run,
            "folder": str(self.run_dir),
            "verdict": self.verdict.outcome.value,
            "mode": "closed" if self.plan.rate_per_s is None else "open",
            "events": self.summary.accepted,
            "concurrency": self.plan.concurrency if self.plan.rate_per_s is None else None,
            "rate_per_s": self.plan.rate_per_s,
            "batch": self.plan.batch,
            "failure_rate": self.plan.failure_rate,
            "accepted_per_s": round(self.summary.accepted / self.sending_s, 1),
            "delivered_per_s": round(len(self.delivered.delivered_at) / self.until_delivered_s, 1),
            "accept_ms": {
                "p50": _ms(self.summary.p50_s),
                "p95": _ms(self.summary.p95_s),
                "p99": _ms(self.summary.p99_s),
                "max": _ms(self.summary.max_s),
            },
            "accept_to_delivered_ms": {name: _ms(self.delivered.quantile(share)) for name, share in _QUANTILES.items()},
            "cpu_s_per_1000_events": {**cpu, "total": round(sum(cpu.values()), 3)},
            "client_cpu_s_per_1000_events": round(1000 * self.client_cpu_s / events, 3),
            "peak_memory_mib": {
                **{name: round(size / 2**20, 1) for name, size in self.peak_memory_bytes.items()},
                "total": round(sum(self.peak_memory_bytes.values()) / 2**20, 1),
            },
            "duplicates": dict(self.verdict.duplicates),
            "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def run_bench(
    runtime: Runtime, state_dir: Path, source: Path, plan: BenchPlan, narrate: Narrate, on_progress: OnProgress
) -> BenchResult:
    """Measures a stack that is up, as it is: nothing is tuned but the merchant's failure rate.

    Raises:
        ReplayError, SourceError (of tracking), StackError, FaultError: why it could not be carried out.
    """
    with failure_rate(runtime, plan.failure_rate, journal_paths(state_dir)):
        if plan.warm_up:
            narrate(f"warming up with {plan.warm_up} payments")
            warm = _measure(runtime, state_dir, source, plan, plan.warm_up, narrate, on_progress)
            shutil.rmtree(warm.run_dir)
        narrate(f"measuring {plan.events} payments")
        return _measure(runtime, state_dir, source, plan, plan.events, narrate, on_progress)


def _measure(
    runtime: Runtime,
    state_dir: Path,
    source: Path,
    plan: BenchPlan,
    events: int,
    narrate: Narrate,
    on_progress: OnProgress,
) -> BenchResult:
    endpoints = runtime.endpoints()
    rows = fingerprint(source).lines - 1
    options = ReplayOptions(
        source,
        max_payments=events,
        repeat=-(-events // max(1, rows)),
        ids="fresh",
        rate_per_s=plan.rate_per_s,
        concurrency=plan.concurrency,
        batch=plan.batch,
    )
    folder = begin_run(endpoints, options, state_dir / "runs")
    replay = BackgroundReplay(runtime, folder)
    meter = Meter(runtime.name, state_dir)
    meter.start()
    began_at, client_cpu_s = time.time(), time.process_time()
    try:
        replay.start()
        while replay.running:
            if replay.progress is not None:
                on_progress(replay.progress)
            time.sleep(_POLL_S)
        summary = replay.summary()
        client_cpu_s = time.process_time() - client_cpu_s
        verdict = prove(endpoints, folder.path, plan.deadline_s, narrate=narrate, where=runtime.endpoints)
    finally:
        if replay.running:
            replay.stop()
        meter.stop()
    delivered = figures(verdict.deliveries or ())
    last_at = delivered.delivered_at[-1] if delivered.delivered_at else time.time()
    return BenchResult(
        plan=plan,
        run_dir=folder.path,
        verdict=verdict,
        summary=summary,
        delivered=delivered,
        sending_s=max(1e-9, summary.elapsed_s),
        until_delivered_s=max(1e-9, last_at - began_at),
        cpu_s=meter.cpu_s,
        client_cpu_s=client_cpu_s,
        peak_memory_bytes=meter.peak_memory_bytes,
    )
