"""What the control room can do to a stack: the same calls as the verbs', each with a job that tells how it goes.

Knows no screen. Every method is called in a job's thread; what it raises is shown with the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import dataset
from control_room.chaos.catalogue import unavailable
from control_room.chaos.healer import for_a_time
from control_room.chaos.injection import apply_faults, heal, preview_fault
from control_room.chaos.journal import JOURNAL_NAME, journal_paths
from control_room.chaos.overdue import heal_overdue
from control_room.replay.options import ReplayOptions, new_seed
from control_room.replay.progress import Progress
from control_room.replay.redelivery import Asked, redeliver
from control_room.replay.run_folder import open_run
from control_room.replay.survey import Survey, survey
from control_room.reports import write_all
from control_room.reports.compare import compare
from control_room.reports.contents import gather_contents
from control_room.reports.curves import Curves
from control_room.reports.tables import Format
from control_room.runs.background import BackgroundReplay
from control_room.runs.begin import begin_run
from control_room.runs.demo import DemoPlan, run_demo
from control_room.runs.folders import find_run
from control_room.runs.prove import judge, prove
from control_room.runs.recording import Recording
from control_room.runs.remove import Size, remove_run, size_of
from control_room.scenarios import storm as storms
from control_room.scenarios.model import Scenario, find, load
from control_room.scenarios.result import UnavailableScenario
from control_room.scenarios.run import run_scenario
from control_room.stack.runtime import NotRunningError, Runtime
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.steps import StepBoard, StepEvent
from control_room.tracking.timeline import Timeline, secrets_of, timeline
from control_room.tracking.transactions import TransactionRow, find_transaction
from control_room.ui.jobs import Job
from control_room.verify import Arithmetic, Verdict

VERIFY_DEADLINE_S = 300.0
_REFUSALS_TOLD = 20
STORM_RATE_PER_S = 50.0


def _ignored(event: StepEvent) -> None:
    """Nobody looks on."""


class Desk(Protocol):
    """What views ask for. Each call may take long; each raises an error whose message is a sentence."""

    state_dir: Path
    replay: BackgroundReplay | None
    """The one that is going on, or went on last."""

    @property
    def progress(self) -> Progress | None:
        """How that one stands; of a run that is over, how its sending stood at the moment."""

    def up(self, job: Job) -> None:
        """Starts the stack."""

    def down(self, job: Job) -> None:
        """Takes it down."""

    def preview(self, fault: str, target: str, params: Mapping[str, Any]) -> str:
        """What a fault would hit now."""

    def apply(
        self, job: Job, fault: str, targets: Sequence[str], params: Mapping[str, Any], for_s: float | None = None
    ) -> None:
        """Applies it, for `for_s` or until it is healed. Raises RuntimeError where its effect was not seen."""

    def unavailable(self) -> dict[str, str]:
        """The faults that this stack cannot do, each with the reason."""

    def heal(self, job: Job, numbers: Sequence[int] | None = None) -> None:
        """Undoes faults, all that are open where none is named."""

    def survey(self, options: ReplayOptions) -> Survey:
        """What a replay would send."""

    def send(self, job: Job, options: ReplayOptions | None, resume: str | None = None) -> Path:
        """Replays to its end; the run's folder."""

    def verify(self, job: Job, run: Path) -> Verdict:
        """Drain, evidence, verdict."""

    def check(self, run: Path) -> Verdict:
        """The verdict from files."""

    def curves(self, run: Path, verdict: Verdict) -> Curves:
        """How the run went over its time, from its files."""

    def size(self, run: Path) -> Size:
        """How much would be lost with the run."""

    def remove(self, run: Path) -> Size:
        """Deletes the run for good. Raises RemoveError."""

    def export(self, run: Path) -> list[Path]:
        """Writes every report."""

    def compare(self, one: Path, other: Path) -> str:
        """Two runs side by side."""

    def demo(self, job: Job) -> Path:
        """The demo; its run."""

    def scenario(
        self, job: Job, scenario: Scenario, seed: int | None = None, on_step: Callable[[StepEvent], None] = _ignored
    ) -> Path:
        """A scenario; its run. `on_step`: as for run_scenario."""

    def story(self, transaction_id: str) -> Timeline:
        """The timeline of one transaction."""

    def find(self, text: str) -> TransactionRow:
        """The transaction whose id begins so."""

    def redeliver(self, job: Job, ids: Sequence[str], reason: str) -> Asked:
        """Has each delivered to the merchant once more."""


class StackDesk:
    """A Desk over a runtime."""

    def __init__(self, runtime: Runtime, state_dir: Path, snapshots: Callable[[], Snapshot] | None = None) -> None:
        """`snapshots`: what runs are recorded from; watches of their own where not given."""
        self._runtime = runtime
        self._snapshots = snapshots
        self.state_dir = state_dir
        self.replay: BackgroundReplay | None = None

    @property
    def progress(self) -> Progress | None:
        """See `Desk`."""
        return self.replay.progress if self.replay is not None else None

    def up(self, job: Job) -> None:
        """Starts the stack, and heals what was left behind."""
        self._runtime.up(job.tell)
        self._heal_left_behind(job)

    def down(self, job: Job) -> None:
        """Takes it down; a replay that is going on ends first."""
        if self.replay is not None and self.replay.running:
            self.replay.stop()
        self._runtime.down(job.tell)

    def preview(self, fault: str, target: str, params: Mapping[str, Any]) -> str:
        """What a fault would hit now."""
        return preview_fault(self._runtime, fault, target, **params)

    def apply(
        self, job: Job, fault: str, targets: Sequence[str], params: Mapping[str, Any], for_s: float | None = None
    ) -> None:
        """Applies it to all targets at once."""
        self._runtime.endpoints()
        ends: AbstractContextManager[Mapping[str, Any]]
        ends = nullcontext({}) if for_s is None else for_a_time(self._runtime.name, self.state_dir, for_s)
        with ends as meant:
            records = apply_faults(self._runtime, fault, targets, self._journals(), meant=meant, **params)
        for record in records:
            facts = ", ".join(f"{key}={value}" for key, value in record.evidence.facts.items())
            job.tell(f"{record.expect} [{'seen' if record.evidence.ok else 'NOT SEEN'}: {facts}]")
        unseen = [record.target for record in records if not record.evidence.ok]
        if unseen:
            raise RuntimeError(f"{fault} was not seen to take effect on {', '.join(unseen)}: look at the view Stack")

    def unavailable(self) -> dict[str, str]:
        """The faults that this stack cannot do, each with the reason."""
        return unavailable(self._runtime)

    def heal(self, job: Job, numbers: Sequence[int] | None = None) -> None:
        """Undoes faults, all that are open where none is named."""
        records = heal(self._runtime, self._journals(), numbers=numbers)
        for record in records:
            seen = "seen" if record.evidence.ok else "NOT SEEN"
            job.tell(f"healed fault {record.fault.number}, {record.fault.name} {record.fault.target} [{seen}]")
        if not records:
            job.tell("nothing to heal: no fault is open")
        failed = [record.fault.target for record in records if not record.evidence.ok]
        if failed:
            raise RuntimeError(f"not seen to work again: {', '.join(failed)}: look at the view Stack, heal again")

    def survey(self, options: ReplayOptions) -> Survey:
        """What a replay would send."""
        return survey(options)

    def send(self, job: Job, options: ReplayOptions | None, resume: str | None = None) -> Path:
        """Replays `options`, or goes on with the run `resume`, to its end."""
        runs_dir = self.state_dir / "runs"
        if resume is not None:
            folder = open_run(find_run(runs_dir, resume))
        elif options is not None:
            folder = begin_run(self._runtime.endpoints(), options, runs_dir)
        else:
            raise RuntimeError("nothing to send: choose a file first")
        self._heal_left_behind(job)
        replay = self.replay = BackgroundReplay(self._runtime, folder, resume=resume is not None)
        job.on_cancel = replay.stop
        job.tell(f"run {folder.run_id}: sending {folder.options.source}")
        with Recording(self._runtime, self.state_dir, folder.path, self._snapshots):
            replay.start()
            summary = replay.summary()
        job.tell(_sent(summary))
        return folder.path

    def verify(self, job: Job, run: Path) -> Verdict:
        """Drain, evidence, verdict."""
        self._heal_left_behind(job)
        endpoints, shown = self._runtime.endpoints(), _shown_by(job)
        with Recording(self._runtime, self.state_dir, run) as recording:  # not always the newest, so not the app's own
            return prove(
                endpoints,
                run,
                VERIFY_DEADLINE_S,
                on_arithmetic=shown,
                narrate=job.tell,
                recording=recording,
                where=self._runtime.endpoints,
            )

    def check(self, run: Path) -> Verdict:
        """The verdict from files."""
        return judge(run)

    def curves(self, run: Path, verdict: Verdict) -> Curves:
        """How the run went over its time, from its files."""
        return gather_contents(run, verdict).curves

    def size(self, run: Path) -> Size:
        """How much would be lost with the run."""
        return size_of(run)

    def remove(self, run: Path) -> Size:
        """Deletes the run for good."""
        return remove_run(self.state_dir / "runs", run)

    def export(self, run: Path) -> list[Path]:
        """Writes every report."""
        return write_all(run, (Format.JSONL,))

    def compare(self, one: Path, other: Path) -> str:
        """Two runs side by side."""
        return compare(one, other).to_markdown()

    def demo(self, job: Job) -> Path:
        """Starts the stack where it is not up, runs the demo, leaves the stack up."""
        self._runtime.up(job.tell)
        self._heal_left_behind(job)
        plan = DemoPlan()

        def look(progress: Progress | None, arithmetic: Arithmetic) -> None:
            del progress
            _show(job, arithmetic, plan.payments)

        found = run_demo(self._runtime, self.state_dir, dataset.PAYMENTS, plan, job.tell, look, self._snapshots)
        return found.run_dir

    def scenario(
        self, job: Job, scenario: Scenario, seed: int | None = None, on_step: Callable[[StepEvent], None] = _ignored
    ) -> Path:
        """Runs it against the stack, which is started where it is not up."""
        self._runtime.up(job.tell)
        self._heal_left_behind(job)
        result = run_scenario(
            self._runtime,
            self.state_dir,
            dataset.PAYMENTS,
            scenario,
            seed=seed,
            narrate=job.tell,
            on_look=lambda arithmetic: _show(job, arithmetic, scenario.load.payments),
            on_step=on_step,
            snapshots=self._snapshots,
        )
        if isinstance(result, UnavailableScenario):
            raise RuntimeError(f"{scenario.name} is not available here: {result.why}")
        if not result.passed:
            raise RuntimeError(f"{scenario.name} FAILED: {result.why}")
        return result.run_dir

    def story(self, transaction_id: str) -> Timeline:
        """The timeline of one transaction."""
        secrets = secrets_of(self._runtime)
        return timeline(self._runtime.endpoints(), transaction_id, self.state_dir / JOURNAL_NAME, secrets)

    def find(self, text: str) -> TransactionRow:
        """The transaction whose id begins so."""
        return find_transaction(self._runtime.endpoints().postgres_conninfo, text)

    def redeliver(self, job: Job, ids: Sequence[str], reason: str) -> Asked:
        """Asks for each; what is refused is told, and all refused is an error."""
        conninfo = self._runtime.endpoints().postgres_conninfo
        done = redeliver(conninfo, ids, reason, lambda count: job.show(f"{count:,} of {len(ids):,}", count / len(ids)))
        for sentence in done.refused[:_REFUSALS_TOLD]:
            job.tell(sentence)
        if not done.numbers:
            raise RuntimeError(f"nothing was redelivered: {done.refused[0] if done.refused else 'nothing was chosen'}")
        job.tell(done.line())
        return done

    def _journals(self) -> list[Path]:
        return journal_paths(self.state_dir)

    def _heal_left_behind(self, job: Job) -> None:
        try:
            self._runtime.endpoints()
        except NotRunningError:
            return
        for record in heal_overdue(self._runtime, self._journals()):
            job.tell(f"healed what was left behind: fault {record.fault.number}, {record.fault.name}")


def named_scenario(name: str) -> Scenario:
    """A scenario by its name or file. Raises ScenarioError."""
    return load(find(name))


def board_of(scenario: Scenario) -> StepBoard:
    """The steps of a scenario that has not begun."""
    return StepBoard(scenario.name, [step.describe() for step in scenario.steps])


def storm_of(seed: int | None, faults: int) -> tuple[Scenario, int]:
    """A storm and its seed."""
    chosen = new_seed() if seed is None else seed
    payments = storms.payments_for(faults, STORM_RATE_PER_S)
    return storms.storm(chosen, faults=faults, rate_per_s=STORM_RATE_PER_S, payments=payments), chosen


def _sent(summary: Progress) -> str:
    refused = sum(summary.refused.values())
    words = f"{summary.accepted:,} accepted, {refused:,} refused, {summary.gave_up:,} without an answer"
    return f"{words}, {summary.bad_rows:,} bad rows" + (", cut off" if summary.interrupted else "")


def _shown_by(job: Job) -> Any:
    return lambda arithmetic: _show(job, arithmetic, arithmetic.accepted)


def _show(job: Job, arithmetic: Arithmetic, expected: int) -> None:
    job.show(arithmetic.line(), arithmetic.delivered / expected if expected else None)
