"""What a platform or a stack cannot do is told with its reason, before anything is hit, never skipped in silence."""

import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from control_room.chaos.catalogue import unavailable
from control_room.chaos.errors import UnavailableError
from control_room.chaos.injection import apply_fault, preview_fault
from control_room.exit_codes import FAILED
from control_room.scenarios import matrix
from control_room.scenarios.model import find, load
from control_room.scenarios.result import BrokenScenario, Measures, ScenarioResult, UnavailableScenario, exit_code
from control_room.scenarios.run import run_scenario
from control_room.stack.local import clocks, full_disk
from control_room.stack.runtime import NotRunningError
from control_room.verify import Arithmetic, Outcome, Verdict
from tests.unit.member_processes import ProcessRuntime

SCENARIO = load(find("disk-full-merchant"))


class Plain(ProcessRuntime):
    """Can do nothing but processes; started without crash points."""

    def crash_points(self):
        return None


@pytest.fixture
def runtime():
    made = Plain(["merchant-server", "dispatcher"])
    yield made
    made.close()


def ran(outcome=Outcome.PROVEN):
    verdict = Verdict(run="r", outcome=outcome, arithmetic=Arithmetic(accepted=1, delivered=1))
    return ScenarioResult(SCENARIO, 1, Path("r"), verdict, [], Measures(1, 0, 0, 0, 0, 0, 0.1, None, None))


def test_every_fault_that_cannot_be_done_is_named_with_a_reason(runtime):
    reasons = unavailable(runtime)
    assert set(reasons) == {"crash-point", "link", "wipe-kafka", "disk-full", "clock-step", "isolate", "restart-engine"}
    assert "CRASH_POINTS=1" in reasons["crash-point"]
    assert all("fake" in reasons[name] for name in ("wipe-kafka", "disk-full", "clock-step", "isolate"))


def test_without_a_stack_what_depends_on_it_is_left_open():
    class Down(Plain):
        def crash_points(self):
            raise NotRunningError("no stack")

    assert "crash-point" not in unavailable(Down([]))


@pytest.mark.parametrize(
    ("name", "target", "params"),
    [
        ("crash-point", "dispatcher", {"point": "dispatcher.before-commit"}),
        ("disk-full", "merchant-server", {}),
        ("clock-step", "merchant-server", {"by": "+90s"}),
    ],
)
def test_one_that_is_not_available_is_refused_before_it_is_journalled(runtime, tmp_path, name, target, params):
    journal = tmp_path / "faults.jsonl"
    with pytest.raises(UnavailableError, match=f"{name} is not available here"):
        apply_fault(runtime, name, target, [journal], **params)
    with pytest.raises(UnavailableError):
        preview_fault(runtime, name, target, **params)
    assert not journal.exists()
    assert all(process.poll() is None for process in runtime.processes.values())


def test_a_scenario_with_such_a_fault_is_not_begun_and_is_neither_passed_nor_failed(runtime, tmp_path):
    said = []
    result = run_scenario(runtime, tmp_path, tmp_path / "none.csv", SCENARIO, narrate=said.append)
    assert isinstance(result, UnavailableScenario)
    assert "disk-full: the runtime fake" in result.why
    assert said == [f"unavailable: disk-full-merchant: {result.why}"]
    assert list(tmp_path.iterdir()) == []
    assert result.to_json()["unavailable"] is True


def test_a_matrix_tells_it_in_every_form_and_fails_only_where_nothing_was_run():
    absent = UnavailableScenario(SCENARIO, "disk-full: no | here")
    both = [ran(), absent]
    assert matrix.row(absent)[:3] == ("disk-full-merchant", "unavailable: disk-full: no | here", "-")
    assert len(matrix.row(absent)) == len(matrix.COLUMNS)
    assert "| disk-full-merchant | unavailable: disk-full: no / here | -" in matrix.markdown(both)
    suite = ElementTree.fromstring(matrix.junit(both))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "1")
    assert suite.find("testcase/skipped").get("message") == "unavailable: disk-full: no | here"
    assert [row.get("unavailable", False) for row in json.loads(json.dumps(matrix.to_json(both)))] == [False, True]
    assert exit_code(both) == 0
    assert exit_code([absent, ran(Outcome.UNKNOWN)]) == 12
    assert exit_code([absent]) == FAILED
    assert not absent.passed


def test_a_matrix_tells_what_was_broken_off_and_keeps_the_rest():
    broken = BrokenScenario(SCENARIO, "dispatcher is not ready:\nno partitions")
    both = [ran(), broken]
    assert matrix.row(broken)[:3] == ("disk-full-merchant", "broken: dispatcher is not ready: no partitions", "-")
    assert len(matrix.markdown(both).splitlines()) == 4
    suite = ElementTree.fromstring(matrix.junit(both))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "2",
        "0",
        "1",
        "0",
    )
    assert suite.find("testcase/error") is not None
    assert json.loads(json.dumps(matrix.to_json(both)))[1]["broken"] is True
    assert exit_code(both) == FAILED


def test_a_platform_without_prlimit_says_so(monkeypatch):
    assert full_disk.unavailable() is None
    monkeypatch.setattr(full_disk, "resource", SimpleNamespace())
    assert "only Linux" in full_disk.unavailable()


def test_a_library_that_is_missing_or_does_not_work_is_no_library(tmp_path, monkeypatch):
    assert "no such file" in clocks.unavailable({"LIBFAKETIME": str(tmp_path / "none.so")})
    broken = tmp_path / "libfaketime.so.1"
    broken.write_bytes(b"not a library")
    assert "does not work" in clocks.unavailable({"LIBFAKETIME": str(broken)})
    monkeypatch.setattr(clocks, "find_spec", lambda _: None)
    assert "bruce-control[clock]" in clocks.unavailable({})
    monkeypatch.setattr(clocks.sys, "platform", "darwin")
    assert "LD_PRELOAD" in clocks.unavailable({})
