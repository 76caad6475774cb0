"""What a scenario came to: its steps, its verdict, and the figures that a matrix compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from control_room.exit_codes import FAILED
from control_room.replay.progress import Progress
from control_room.reports.figures import figures, recovered_after
from control_room.scenarios.model import Scenario
from control_room.verify import Verdict

UNAVAILABLE: Final = "unavailable"
BROKEN: Final = "broken"
"""The words for scenarios without a verdict."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One step."""

    step: str
    """In words."""
    done: bool
    why: str = ""
    """Why it did not come to pass."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one run."""

    accepted: int
    lost: int
    stranded: int
    phantom: int
    duplicates: int
    unexplained: int
    """Duplicates without a cause."""
    worst_outage_s: float
    """The longest that a client waited for a definite answer, its retries included, from when the payment was due."""
    first_delivery_s: float | None
    """From the last heal (or the last fault's effect) to the next first delivery; None where none followed."""
    backlog_gone_s: float | None
    """From the same moment to the last first delivery."""


def measured(verdict: Verdict, summary: Progress) -> Measures:
    """The figures, from the verdict and the client's own."""
    found = figures(verdict.deliveries or ())
    last = max(verdict.faults, key=lambda fault: fault.healed_at or fault.evidence_at or fault.at, default=None)
    ended_at = 0.0 if last is None else last.healed_at or last.evidence_at or last.at
    backlog_s = found.delivered_at[-1] - ended_at if last is not None and found.delivered_at else None
    classes = verdict.classes
    return Measures(
        accepted=verdict.arithmetic.accepted,
        lost=classes.get("lost", 0),
        stranded=classes.get("stranded", 0),
        phantom=classes.get("phantom", 0),
        duplicates=sum(verdict.duplicates.values()),
        unexplained=verdict.duplicates.get("unexplained", 0),
        worst_outage_s=summary.max_s,
        first_delivery_s=None if last is None else recovered_after(last, found),
        backlog_gone_s=None if backlog_s is None else max(0.0, backlog_s),
    )


@dataclass(frozen=True, slots=True)
class _NoVerdict:
    """A scenario that came to no verdict."""

    scenario: Scenario
    why: str
    """What kept it from one."""
    word: ClassVar[str]
    passed: ClassVar[bool] = False
    exit_code: ClassVar[int] = FAILED

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "scenario": self.scenario.name,
            "proves": self.scenario.proves,
            "passed": self.passed,
            self.word: True,
            "why": self.why,
        }


class UnavailableScenario(_NoVerdict):
    """A scenario that was not run, because this platform or this stack cannot do one of its faults.

    Neither passed nor failed: it proves nothing, and nothing is wrong.
    """

    __slots__ = ()
    word = UNAVAILABLE


class BrokenScenario(_NoVerdict):
    """A scenario of several that could not be run to its end: the stack did not come up, or an action failed."""

    __slots__ = ()
    word = BROKEN


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """A scenario that was run."""

    scenario: Scenario
    seed: int
    run_dir: Path
    verdict: Verdict
    steps: Sequence[StepOutcome]
    measures: Measures

    @property
    def passed(self) -> bool:
        """Whether every step came to pass and the verdict is green."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The verdict's; where that is green, 1 for a step that did not come to pass."""
        if self.verdict.exit_code:
            return self.verdict.exit_code
        return 0 if all(step.done for step in self.steps) else FAILED

    @property
    def why(self) -> str:
        """Why it did not pass."""
        failed = [f"{step.step}: {step.why}" for step in self.steps if not step.done]
        return "; ".join([*failed, *self.verdict.reasons])

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "scenario": self.scenario.name,
            "proves": self.scenario.proves,
            "seed": self.seed,
            "run": self.verdict.run,
            "folder": str(self.run_dir),
            "passed": self.passed,
            "verdict": self.verdict.outcome.value,
            "why": self.why,
            "steps": [asdict(step) for step in self.steps],
            "measures": asdict(self.measures),
            "duplicates": dict(self.verdict.duplicates),
            "classes": dict(self.verdict.classes),
        }


Result = ScenarioResult | UnavailableScenario
"""What became of a scenario that was asked for."""
AnyResult = Result | BrokenScenario
"""What became of one of several."""


def exit_code(results: Sequence[AnyResult]) -> int:
    """That of the first that was run and did not pass; where none could be run, that of an action not carried out.

    Beside others that passed, one that is not available is told, and fails nothing.
    """
    ran = [result for result in results if not isinstance(result, UnavailableScenario)]
    if not ran:
        return FAILED if results else 0
    return next((result.exit_code for result in ran if result.exit_code), 0)
