"""Many scenarios in a row, and what each of them came to: as rows, Markdown and JUnit XML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from control_room.scenarios.model import Scenario
from control_room.scenarios.result import AnyResult, BrokenScenario, ScenarioResult

COLUMNS = (
    "scenario",
    "verdict",
    "accepted",
    "lost",
    "stranded",
    "duplicates",
    "worst outage s",
    "first delivery s",
    "backlog gone s",
)


def row(result: AnyResult) -> tuple[str, ...]:
    """One line of the table; of one that could not be run, the reason stands in place of a verdict."""
    if not isinstance(result, ScenarioResult):
        name, verdict = result.scenario.name, f"{result.word}: {' '.join(result.why.split())}"
        return (name, verdict, *["-"] * (len(COLUMNS) - 2))
    found = result.measures
    return (
        result.scenario.name,
        result.verdict.outcome.value if all(step.done for step in result.steps) else "failed",
        str(found.accepted),
        str(found.lost),
        str(found.stranded),
        str(found.duplicates),
        f"{found.worst_outage_s:.1f}",
        _seconds(found.first_delivery_s),
        _seconds(found.backlog_gone_s),
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def markdown(results: Iterable[AnyResult]) -> str:
    """The table as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row(result))} |" for result in results]
    return "\n".join(lines) + "\n"


def junit(results: Sequence[AnyResult]) -> str:
    """JUnit XML: one test case per scenario; one that is not available is skipped, with the reason."""
    ran = [result for result in results if isinstance(result, ScenarioResult)]
    broken = [result for result in results if isinstance(result, BrokenScenario)]
    suite = ElementTree.Element(
        "testsuite",
        name="bruce-control matrix",
        tests=str(len(results)),
        failures=str(sum(not result.passed for result in ran)),
        errors=str(len(broken)),
        skipped=str(len(results) - len(ran) - len(broken)),
    )
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname="scenario", name=result.scenario.name)
        if not isinstance(result, ScenarioResult):
            kind = "error" if isinstance(result, BrokenScenario) else "skipped"
            ElementTree.SubElement(case, kind, message=f"{result.word}: {result.why}")
            continue
        if not result.passed:
            failure = ElementTree.SubElement(case, "failure", message=result.verdict.outcome.value)
            failure.text = result.why
        ElementTree.SubElement(case, "system-out").text = f"run {result.run_dir}, seed {result.seed}"
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def run_all(
    chosen: Sequence[Scenario], run: Callable[[Scenario], AnyResult], on_result: Callable[[AnyResult], None]
) -> list[AnyResult]:
    """Runs one after the other; a failed one does not keep the next from running."""
    results = []
    for scenario in chosen:
        result = run(scenario)
        on_result(result)
        results.append(result)
    return results


def write(results: Sequence[AnyResult], *, markdown_to: Path | None, junit_to: Path | None) -> None:
    """Writes the files that were asked for. Raises OSError."""
    if markdown_to is not None:
        markdown_to.write_text(markdown(results), encoding="utf-8")
    if junit_to is not None:
        junit_to.write_text(junit(results), encoding="utf-8")


def to_json(results: Sequence[AnyResult]) -> list[dict[str, Any]]:
    """All results as JSON types."""
    return [result.to_json() for result in results]
