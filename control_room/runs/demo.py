"""The demo: a replay, the dispatcher and a broker killed on the way, a drain, a verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control_room.chaos.catalogue import unavailable
from control_room.chaos.errors import FaultError, UnavailableError
from control_room.chaos.faults import MERCHANT
from control_room.chaos.injection import apply_fault, heal
from control_room.chaos.journal import journal_paths
from control_room.chaos.member_faults import Kill
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.overdue import injector
from control_room.replay.options import ReplayOptions
from control_room.replay.progress import Progress
from control_room.reports.figures import figures
from control_room.runs.background import BackgroundReplay
from control_room.runs.begin import begin_run
from control_room.runs.behaviour import failure_rate
from control_room.runs.prove import prove
from control_room.runs.recording import Recording
from control_room.stack.runtime import Runtime, StackError
from control_room.tracking.evidence import RunFollower
from control_room.tracking.snapshot import Snapshot
from control_room.verify import Arithmetic, Verdict

_LOOK_S: Final = 0.25
_STEP_POLL_S: Final = 0.02

Narrate = Callable[[str], None]
OnLook = Callable[[Progress | None, Arithmetic], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One kill on the way."""

    member: str
    at_share: float
    """Of the payments, how many have left when it happens: 0 to 1."""
    started_again_after_s: float | None = None
    """None: it stays dead until everything is healed."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo does."""

    payments: int = 300
    rate_per_s: float = 50.0
    failure_rate: float = 0.7
    steps: tuple[Step, ...] = (Step("dispatcher", 0.25, started_again_after_s=3.0), Step("kafka-2", 0.5))
    mercy_after_s: float = 110.0
    """From the start of the run; then the merchant stops failing, so that nobody waits for the unluckiest payment: of
    300 that fail 70 % of the time the last needs some 16 attempts, and one run in fifty more than 27."""
    deadline_s: float = 300.0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How the demo ended."""

    run_dir: Path
    verdict: Verdict
    accepted: int
    requeued: int
    """Ids that took more than one round."""
    killed: int
    """Kills whose effect was seen."""
    duplicates: int
    attempts: int
    duration_s: float

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "run": self.verdict.run,
            "folder": str(self.run_dir),
            "verdict": self.verdict.outcome.value,
            "reasons": list(self.verdict.reasons),
            "arithmetic": self.verdict.arithmetic.to_json(),
            "classes": dict(self.verdict.classes),
            "accepted": self.accepted,
            "requeued": self.requeued,
            "killed": self.killed,
            "duplicates": self.duplicates,
            "attempts": self.attempts,
            "duration_s": round(self.duration_s, 1),
        }


def run_demo(
    runtime: Runtime,
    state_dir: Path,
    source: Path,
    plan: DemoPlan,
    narrate: Narrate,
    on_look: OnLook,
    snapshots: Callable[[], Snapshot] | None = None,
) -> DemoResult:
    """Runs the plan against a stack that is up, and records it. Whatever happens, what was broken is healed.

    `snapshots`: as for Recording.

    Raises:
        UnavailableError: this stack cannot be broken so.
        ReplayError, SourceError (of tracking), StackError, FaultError: why it could not be carried out.
    """
    began_s = time.monotonic()
    endpoints = runtime.endpoints()
    impossible = unavailable(runtime, (Kill.name, MerchantBehaviour.name))
    if impossible:
        why = "; ".join(f"{name}: {reason}" for name, reason in impossible.items())
        raise UnavailableError(f"the demo is not available here: {why}")
    options = ReplayOptions(source, max_payments=plan.payments, rate_per_s=plan.rate_per_s, ids="fresh")
    folder = begin_run(endpoints, options, state_dir / "runs")
    narrate(f"run {folder.run_id}: {plan.payments} payments at {plan.rate_per_s:g}/s, {plan.failure_rate:.0%} fail")
    journals = journal_paths(state_dir, [folder.path])
    with (
        failure_rate(runtime, plan.failure_rate, journals),
        RunFollower(endpoints, folder.path, where=runtime.endpoints) as follower,
        Recording(runtime, state_dir, folder.path, snapshots) as recording,
    ):
        replay = BackgroundReplay(runtime, folder)
        saboteurs = [_Saboteur(runtime, step, journals, replay, plan.payments, narrate) for step in plan.steps]
        try:
            _play(replay, saboteurs, lambda: on_look(replay.progress, follower.sample()))
        finally:
            _heal(runtime, journals, [step.member for step in plan.steps], narrate)
        narrate("waiting for the drain: whatever is not delivered yet is on its way")
        with _Mercy(runtime, journals, began_s + plan.mercy_after_s, narrate) as mercy:

            def look(arithmetic: Arithmetic) -> None:
                on_look(None, arithmetic)
                mercy.when_due(arithmetic)

            verdict = prove(
                endpoints,
                folder.path,
                plan.deadline_s,
                on_arithmetic=look,
                narrate=narrate,
                follower=follower,
                recording=recording,
            )
    return _result(folder.path, verdict, time.monotonic() - began_s)


def _play(replay: BackgroundReplay, saboteurs: Sequence[_Saboteur], look: Callable[[], None]) -> None:
    """Sends the load while things are broken; whatever happens, both have ended afterwards."""
    try:
        replay.start()
        for saboteur in saboteurs:
            saboteur.start()
        while replay.running or any(saboteur.running for saboteur in saboteurs):
            look()
            time.sleep(_LOOK_S)  # between two looks at what is shown; the load runs in a thread of its own
        for saboteur in saboteurs:
            saboteur.finish()
        replay.summary()
    finally:
        for saboteur in saboteurs:
            saboteur.cancel()
        if replay.running:
            replay.stop()


class _Mercy:
    """Ends the merchant's failures once, when a drain takes too long; journalled, and undone at the end."""

    def __init__(self, runtime: Runtime, journals: Sequence[Path], due_s: float, narrate: Narrate) -> None:
        """`due_s` is on the monotonic clock."""
        self._runtime = runtime
        self._journals = journals
        self._due_s = due_s
        self._narrate = narrate
        self._number: int | None = None

    def __enter__(self) -> _Mercy:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Puts back what the merchant did before."""
        if self._number is not None:
            heal(self._runtime, self._journals, numbers=[self._number])

    def when_due(self, arithmetic: Arithmetic) -> None:
        """To be called now and then while the drain goes on."""
        if self._number is not None or not arithmetic.open or time.monotonic() < self._due_s:
            return
        record = apply_fault(
            self._runtime,
            MerchantBehaviour.name,
            MERCHANT,
            self._journals,
            meant={"injector": injector()},
            failure_rate=0.0,
        )
        self._number = record.number
        self._narrate(f"{arithmetic.open} left after a long wait: {record.expect}")


def _heal(runtime: Runtime, journals: Sequence[Path], members: Sequence[str], narrate: Narrate) -> None:
    for healed in heal(runtime, journals, targets=members):
        seen = "and answers again" if healed.evidence.ok else "but that was not seen to work"
        narrate(f"healed: {healed.fault.name} {healed.fault.target}, {seen}")


def _result(run_dir: Path, verdict: Verdict, duration_s: float) -> DemoResult:
    found = figures(verdict.deliveries or ())
    return DemoResult(
        run_dir=run_dir,
        verdict=verdict,
        accepted=verdict.arithmetic.accepted,
        requeued=found.requeued,
        killed=sum(fault.name == "kill" and fault.verified for fault in verdict.faults),
        duplicates=sum(verdict.duplicates.values()),
        attempts=found.attempts,
        duration_s=duration_s,
    )


@dataclass(slots=True)
class _Saboteur:
    """Carries out one step in a thread of its own: a kill must not hold up the next one, nor the live line."""

    runtime: Runtime
    step: Step
    journals: Sequence[Path]
    replay: BackgroundReplay
    payments: int
    narrate: Narrate
    _error: Exception | None = None
    _thread: threading.Thread | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begins to wait for its moment."""
        self._thread = threading.Thread(target=self._run, name=f"kill-{self.step.member}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is not done."""
        return self._thread is not None and self._thread.is_alive()

    def cancel(self) -> None:
        """Keeps it from doing anything more, and waits for what it is doing."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> None:
        """Waits for its end. Raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            if self._moment():
                self._act()
        except (FaultError, StackError) as error:
            self._error = error

    def _moment(self) -> bool:
        """Whether its moment came before the end of the replay."""
        while not self._cancelled.wait(_STEP_POLL_S):
            progress = self.replay.progress
            if progress is not None and progress.payments >= self.step.at_share * self.payments:
                return True
            if not self.replay.running:
                return False
        return False

    def _act(self) -> None:
        self._apply("kill")
        if self.step.started_again_after_s is None or self._cancelled.wait(self.step.started_again_after_s):
            return
        self._apply("start")

    def _apply(self, name: str) -> None:
        record = apply_fault(self.runtime, name, self.step.member, self.journals, meant={"injector": injector()})
        seen = "seen" if record.evidence.ok else "NOT seen to take effect"
        facts = ", ".join(f"{key}={value}" for key, value in record.evidence.facts.items())
        self.narrate(f"{record.expect} [{seen}: {facts}]")
