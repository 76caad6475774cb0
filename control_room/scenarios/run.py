"""Running a scenario: the load in the background, its steps one after the other, then heal, drain, verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from control_room.chaos.catalogue import unavailable
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import HealRecord, apply_faults, heal
from control_room.chaos.journal import journal_paths
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.open_faults import open_faults
from control_room.chaos.overdue import injector
from control_room.replay.options import ReplayOptions, new_seed
from control_room.replay.progress import Progress
from control_room.replay.run_folder import RunFolder
from control_room.runs.background import BackgroundReplay
from control_room.runs.begin import begin_run
from control_room.runs.behaviour import failure_rate
from control_room.runs.prove import prove
from control_room.runs.recording import Recording
from control_room.scenarios import conditions, pace, targets
from control_room.scenarios.model import Scenario, Step
from control_room.scenarios.needs import lacking
from control_room.scenarios.result import (
    UNAVAILABLE,
    Result,
    ScenarioResult,
    StepOutcome,
    UnavailableScenario,
    measured,
)
from control_room.stack.runtime import Runtime, StackError
from control_room.tracking.evidence import RunFollower
from control_room.tracking.http_source import fetch_json
from control_room.tracking.parts import SourceError
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.steps import StepEvent, StepState, log_step
from control_room.verify import Arithmetic

_LOOK_S: Final = 0.1

Narrate = Callable[[str], None]
OnLook = Callable[[Arithmetic], None]
OnStep = Callable[[StepEvent], None]


class _StepFailedError(Exception):
    """A step that could not be carried out, or whose condition did not come true in time."""


def run_scenario(
    runtime: Runtime,
    state_dir: Path,
    source: Path,
    scenario: Scenario,
    *,
    seed: int | None = None,
    narrate: Narrate = lambda _: None,
    on_look: OnLook = lambda _: None,
    on_step: OnStep = lambda _: None,
    snapshots: Callable[[], Snapshot] | None = None,
) -> Result:
    """Runs `scenario` against a stack that is up, to its verdict. Whatever happens, its faults are healed.

    The run is recorded; `snapshots`: as for Recording. `on_step` is told when a step begins and ends, the closing
    (see `steps` of tracking) among them.

    One with a fault that is not available here, or on another stack than it needs, is not begun: no payment is sent for
    a proof that cannot be had.

    A step that does not come to pass ends the steps, not the run: the verdict is then UNKNOWN where a planned fault is
    missing, and the scenario has failed in any case.

    Raises:
        ReplayError, SourceError (of tracking), StackError, FaultError: why it could not be carried out at all.
    """
    impossible = unavailable(runtime, {*scenario.faults_named, MerchantBehaviour.name})
    why = "; ".join(f"{name}: {reason}" for name, reason in impossible.items()) or lacking(scenario, runtime.settings())
    if why:
        narrate(f"{UNAVAILABLE}: {scenario.name}: {why}")
        return UnavailableScenario(scenario, why)
    chosen = new_seed() if seed is None else seed
    folder = _begin(runtime, state_dir, source, scenario, chosen)
    narrate(f"run {folder.run_id}, seed {chosen}: {scenario.name}: {scenario.proves}")
    own = [state_dir / "faults.jsonl"]  # what the merchant does from the start is no fault of this run
    with (
        failure_rate(runtime, scenario.load.failure_rate, own),
        RunFollower(runtime.endpoints(), folder.path, where=runtime.endpoints) as follower,
        Recording(runtime, state_dir, folder.path, snapshots) as recording,
    ):
        journals = journal_paths(state_dir, [folder.path])
        replay = BackgroundReplay(runtime, folder)
        chance = Random(chosen)  # noqa: S311 - chance that can be repeated, no secret
        stage = _Stage(runtime, scenario, folder.path, journals, follower, replay, chance, narrate, on_look, on_step)
        outcomes, summary = _played(stage)
        verdict = prove(
            runtime.endpoints(),
            folder.path,
            scenario.deadline,
            on_arithmetic=on_look,
            narrate=narrate,
            follower=follower,
            recording=recording,
        )
    green = verdict.exit_code == 0
    stage.tell(len(scenario.steps), StepState.DONE if green else StepState.FAILED, "; ".join(verdict.reasons))
    return ScenarioResult(scenario, chosen, folder.path, verdict, outcomes, measured(verdict, summary))


def _played(stage: _Stage) -> tuple[list[StepOutcome], Progress]:
    """What became of the steps and of the load; whatever happens, the load ends and the faults are healed."""
    try:
        stage.replay.start()
        outcomes = stage.play()
        stage.tell(len(stage.scenario.steps), StepState.RUNNING)
        stage.until_sent()
        return outcomes, stage.replay.summary()
    finally:
        if stage.replay.running:
            stage.replay.stop()
        stage.heal_all()


def _begin(runtime: Runtime, state_dir: Path, source: Path, scenario: Scenario, seed: int) -> RunFolder:
    """The run's folder, with what is planned. Raises ReplayError, SourceError (of tracking)."""
    load = scenario.load
    options = ReplayOptions(
        source,
        max_payments=load.payments,
        rate_per_s=load.rate,
        batch=load.batch,
        repeat=_repeats(source, load.payments),
        ids="fresh",
        # Not the scenario's: the same ids again would be duplicates of what was delivered before, and prove nothing.
        seed=new_seed(),
    )
    plan = {
        "scenario": scenario.name,
        "scenario_seed": seed,
        "faults_planned": scenario.faults_planned,
        "steps": _words(scenario),
    }
    return begin_run(runtime.endpoints(), options, state_dir / "runs", plan)


def _repeats(source: Path, payments: int) -> int:
    rows = max(1, source.read_bytes().count(b"\n") - 1)
    return -(-payments // rows)


def _words(scenario: Scenario) -> list[str]:
    return [step.describe() for step in scenario.steps]


@dataclass(slots=True)
class _Stage:
    """Plays the steps. One thread: looks, waits and acts in turn."""

    runtime: Runtime
    scenario: Scenario
    run_dir: Path
    journals: list[Path]
    follower: RunFollower
    replay: BackgroundReplay
    random: Random
    narrate: Narrate
    on_look: OnLook
    on_step: OnStep
    _others: frozenset[int] = frozenset()
    """Numbers of the faults that were open before the first step."""
    _pace: float = 1.0
    """Of the load's rate, where it gives way."""

    def __post_init__(self) -> None:
        """Remembers what is open already."""
        self._others = frozenset(fault.number for fault in open_faults(self.journals[0]))

    def play(self) -> list[StepOutcome]:
        """Every step that came to pass, and the one that did not."""
        outcomes: list[StepOutcome] = []
        before_s = time.monotonic()
        for number, step in enumerate(self.scenario.steps):
            words = step.describe()
            self.tell(number, StepState.RUNNING)
            try:
                self._wait(step, before_s)
                self._do(step)
            except (_StepFailedError, FaultError, StackError) as error:
                outcomes.append(StepOutcome(words, False, str(error)))
                self.tell(number, StepState.FAILED, str(error))
                self.narrate(f"✗ {words}: {error}")
                return outcomes
            before_s = time.monotonic()
            outcomes.append(StepOutcome(words, True))
            self.tell(number, StepState.DONE)
            self.narrate(f"✓ {words}")
        return outcomes

    def tell(self, number: int, state: StepState, why: str = "") -> None:
        """Tells whoever looks on how a step stands."""
        event = StepEvent(number, state, time.time(), why)
        log_step(self.run_dir, event)
        self.on_step(event)

    def until_sent(self) -> None:
        """Until the load has been sent and answered."""
        self._give_way(1.0)
        while self.replay.running:
            self.on_look(self.follower.sample())
            time.sleep(_LOOK_S)  # between two looks: each asks Postgres and the merchant

    def heal_all(self) -> None:
        """Undoes what this run has broken and nothing else did put right."""
        try:
            for healed in self._heal_own():
                if not healed.evidence.ok:
                    self.narrate(f"✗ heal {healed.fault.name} {healed.fault.target}: not seen to work")
        except FaultError as error:
            self.narrate(f"✗ heal: {error}")

    def _wait(self, step: Step, before_s: float) -> None:
        if step.after is not None:
            self._until(lambda _: time.monotonic() - before_s >= step.after, step.after + 60, "the time to come")  # type: ignore[operator]  # checked just above
        elif step.at is not None:
            self._give_way(step.at)
            wanted = step.at * self.scenario.load.payments
            condition = conditions.parse(f"accepted >= {round(wanted)}")
            self._until_holds(condition, step.within + self.scenario.load.payments / self.scenario.load.rate)
        elif step.when is not None:
            self._until_holds(conditions.parse(step.when), step.within)

    def _give_way(self, at: float) -> None:
        """Slows the load down by how far it is ahead of the step that is to come at this share of it."""
        load = self.scenario.load
        if not load.gives_way or not self.replay.running:
            return
        ahead = self.follower.sample().accepted / load.payments - at
        wanted = pace.pace(ahead)
        if abs(wanted - self._pace) > pace.STEP:
            self._pace = wanted
            self.replay.change_rate(load.rate * wanted)

    def _do(self, step: Step) -> None:
        if step.fault is not None:
            self._apply(step)
        elif step.heal is not None:
            self._heal(step.heal)
        elif step.rate is not None:
            self.replay.change_rate(step.rate)
        elif step.expect is not None:
            self._until_holds(conditions.parse(step.expect), step.within)

    def _apply(self, step: Step) -> None:
        members = targets.resolve(step.members, self.runtime, self.random)
        groups = [[member] for member in members] if step.one_by_one else [members]
        for group in groups:
            meant = {"injector": injector()}
            records = apply_faults(self.runtime, step.fault or "", group, self.journals, meant=meant, **step.with_)
            for record in records:
                facts = ", ".join(f"{key}={value}" for key, value in record.evidence.facts.items())
                self.narrate(f"  {record.expect} [{'seen' if record.evidence.ok else 'NOT SEEN'}: {facts}]")
            unseen = [record.target for record in records if not record.evidence.ok]
            if unseen:
                raise _StepFailedError(f"not seen to take effect on {', '.join(unseen)}")

    def _heal(self, names: list[str]) -> None:
        if "all" in names:
            healed = self._heal_own()
        else:
            healed = heal(self.runtime, self.journals, targets=targets.resolve(names, self.runtime, self.random))
        failed = [record.fault.target for record in healed if not record.evidence.ok]
        if failed:
            raise _StepFailedError(f"not seen to work again: {', '.join(failed)}")

    def _heal_own(self) -> list[HealRecord]:
        """Heals the faults of this run alone: what others broke, and the load's own failure rate, stay."""
        own = {fault.number for fault in open_faults(self.journals[0])} - self._others
        return heal(self.runtime, self.journals, numbers=own) if own else []

    def _until_holds(self, condition: conditions.Condition, within_s: float) -> None:
        def holds(arithmetic: Arithmetic) -> bool:
            return condition.holds(self._moment(condition, arithmetic))

        self._until(holds, within_s, condition.text)

    def _until(self, holds: Callable[[Arithmetic], bool], within_s: float, what: str) -> None:
        until_s = time.monotonic() + within_s
        while True:
            arithmetic = self.follower.sample()
            self.on_look(arithmetic)
            if holds(arithmetic):
                return
            if time.monotonic() >= until_s:
                raise _StepFailedError(f"not within {within_s:g} s: {what} ({arithmetic.line()})")
            time.sleep(_LOOK_S)  # a condition on several servers: it can only be asked for again

    def _moment(self, condition: conditions.Condition, arithmetic: Arithmetic) -> conditions.Moment:
        dispatcher = members = None
        if condition.needs_dispatcher:
            try:
                dispatcher = fetch_json(self.runtime.endpoints().dispatcher_status_url)
            except SourceError:
                dispatcher = None  # failure policy: open, an unanswered question holds no condition
        if condition.needs_members:
            members = {member.name: member for member in self.runtime.status()}
        return conditions.Moment(arithmetic, self.scenario.load.payments, not self.replay.running, dispatcher, members)
