"""The checker under attack: a pipeline with a bug in it never ends green, whatever the bug."""

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from control_room.exit_codes import LOST, UNKNOWN
from control_room.stack.runtime import API_REPLICAS
from tests.e2e.conftest import COMMAND, QUICK, Bruce, wait_for
from tests.e2e.test_replay_proven import replay_under_way

ROOT = Path(__file__).resolve().parents[2]
DRAIN_S = 20
"""What is lost never comes: there is nothing to wait for."""


@dataclass(frozen=True)
class Bug:
    module: str
    members: tuple[str, ...]
    caught_by: str
    """The class that must not be empty."""
    killed: str = ""
    """Who dies under load, where the bug shows only then."""
    environ: dict[str, str] = field(default_factory=dict)
    killed_after: str = ""
    """A text that must stand in that member's log five times first."""
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other replaced members, by module."""


ALL_BY_THE_PUBLISHER = {"api_leaves_all_to_the_publisher": API_REPLICAS}
BUGS = [
    Bug("api_answers_before_commit", API_REPLICAS, "lost", killed="postgres"),
    Bug(
        "publisher_marks_before_the_report",
        ("outbox-publisher",),
        "lost",
        killed="outbox-publisher",
        environ={"OUTBOX_GRACE_SEC": "0", "OUTBOX_LINGER_MS": "1000"},
        beside=ALL_BY_THE_PUBLISHER,
    ),
    Bug("dispatcher_commits_before_delivery", ("dispatcher",), "lost", "dispatcher", {"FAILURE_RATE": "0.6"}),
    Bug(
        "dispatcher_requeues_without_the_report",
        ("dispatcher",),
        "lost",
        "dispatcher",
        {"FAILURE_RATE": "0.5"},
        "RE-QUEUING",
    ),
    Bug("dispatcher_drops_some", ("dispatcher",), "lost"),
    Bug("dispatcher_swaps_two_bodies", ("dispatcher",), "bad-signature"),
    Bug("dispatcher_invents_payments", ("dispatcher",), "phantom"),
    Bug("merchant_forgets_some", ("merchant-server",), "lost"),
]


def command(module):
    return shlex.join([sys.executable, "-m", f"tests.broken.{module}"])


def replay_with(bruce, bug):
    """The verdict and the exit code of a replay through the broken pipeline."""
    replaced = {bug.module: bug.members, **bug.beside}
    given = [f"--replace={member}={command(module)}" for module, members in replaced.items() for member in members]
    bruce.run("up", *given)
    replay, run = replay_under_way(bruce)
    if bug.killed:
        log = bruce.state / "logs" / f"{bug.killed}.log"
        wait_for(lambda: log.read_text(encoding="utf-8").count(bug.killed_after) >= 5, 30, f"{bug.killed} is at work")
        bruce.run("chaos", "kill", bug.killed, "--run", str(run))
        bruce.run("chaos", "start", bug.killed, "--run", str(run))
    out, err = replay.communicate(timeout=120)
    assert replay.returncode == 0, out + err
    verified = bruce.run("verify", str(run), "--deadline", str(DRAIN_S), "--json", expect=None)
    return json.loads(verified.stdout), verified.returncode


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.module)
def test_a_pipeline_with_this_bug_never_ends_green(tmp_path, bug):
    environ = {**QUICK, **bug.environ, "PYTHONPATH": str(ROOT)}
    bruce = Bruce(tmp_path / "state", COMMAND, tmp_path, **environ)
    try:
        verdict, code = replay_with(bruce, bug)
    finally:
        bruce.run("down", "--volumes")
    assert code in (LOST, UNKNOWN), json.dumps(verdict, indent=1)
    assert verdict["verdict"] in ("invalid", "unknown")
    assert verdict["classes"][bug.caught_by] > 0, verdict["classes"]


def test_a_redelivery_that_is_recorded_and_never_sent_turns_a_proven_verdict(tmp_path):
    environ = {**QUICK, "FAILURE_RATE": "0", "PYTHONPATH": str(ROOT)}
    bruce = Bruce(tmp_path / "state", COMMAND, tmp_path, **environ)
    try:
        bruce.run("up", f"--replace=dispatcher={command('dispatcher_forgets_redeliveries')}")
        bruce.run("replay", "--max", "30", "--ids", "fresh")
        (run,) = (bruce.state / "runs").iterdir()
        assert bruce.json("verify", str(run))["verdict"] == "proven"
        sent = [json.loads(line) for line in (run / "operations.jsonl").read_text().splitlines()]
        ids = [line["id"] for line in sent if line["k"] == "invoke"][:3]
        bruce.run("redeliver", *ids, "--yes")
        wait_for(lambda: all("arrived" in bruce.run("event", one).stdout for one in ids), 60, "what Postgres says")
        verified = bruce.run("verify", str(run), "--json", expect=LOST)
    finally:
        bruce.run("down", "--volumes")
    verdict = json.loads(verified.stdout)
    assert verdict["verdict"] == "invalid"
    assert any("3 redeliveries are recorded as delivered" in reason for reason in verdict["reasons"]), verdict


def test_a_pipeline_that_is_only_slower_ends_green(tmp_path):
    """What tells a bug from a difference: the other half of a checker's worth."""
    environ = {**QUICK, "PYTHONPATH": str(ROOT), "OUTBOX_GRACE_SEC": "0"}
    bruce = Bruce(tmp_path / "state", COMMAND, tmp_path, **environ)
    try:
        verdict, code = replay_with(bruce, Bug("api_leaves_all_to_the_publisher", API_REPLICAS, ""))
    finally:
        bruce.run("down", "--volumes")
    assert (verdict["verdict"], code) == ("proven", 0), verdict
