"""Faults on a stack that runs elsewhere: off, each with its reason, but for those that the user has commands for."""

import pytest

from control_room.chaos.catalogue import CATALOGUE, unavailable
from control_room.chaos.errors import FaultError, UnavailableError
from control_room.chaos.injection import apply_fault, heal_all, preview_fault
from control_room.chaos.open_faults import open_faults
from control_room.stack.external.config import HOOKABLE
from control_room.stack.select import open_runtime

CONFIG = """
api: http://127.0.0.1:1
kafka: {bootstrap.servers: "127.0.0.1:1"}
postgres: {host: 127.0.0.1, port: 1}
"""
HOOKS = """
hooks:
  kill:
    apply: touch down-{member}
    heal: rm down-{member}
    evidence: test -f down-{member}
    timeout_s: 3
  freeze:
    apply: sh -c "echo no right to do that >&2; exit 4"
    heal: "true"
    evidence: "false"
    timeout_s: 1
  restart: {apply: "true", heal: "true", evidence: "false", timeout_s: 1}
"""


@pytest.fixture
def make(tmp_path):
    def made(text):
        path = tmp_path / "elsewhere.yaml"
        path.write_text(text)
        return open_runtime("external", tmp_path / "state", {"PATH": "/bin:/usr/bin", "BRUCE_EXTERNAL": str(path)})

    return made


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def test_without_commands_every_fault_is_off_and_says_why(make, journal):
    runtime = make(CONFIG)
    reasons = unavailable(runtime)
    assert set(reasons) == set(CATALOGUE)
    for name, reason in reasons.items():
        named = "no commands are configured for it under hooks." if name in HOOKABLE else "no command can do it there"
        assert named in reason, name
    with pytest.raises(UnavailableError, match=r"kill is not available here: .*hooks\.kill"):
        apply_fault(runtime, "kill", "dispatcher", [journal])
    assert not journal.exists()


def test_a_fault_with_commands_is_applied_seen_and_healed_by_them(make, journal, tmp_path):
    runtime = make(CONFIG + HOOKS)
    assert set(CATALOGUE) - set(unavailable(runtime)) == {"kill", "freeze", "restart"}
    assert preview_fault(runtime, "kill", "dispatcher").startswith("kill dispatcher by the command that is configured")
    record = apply_fault(runtime, "kill", "dispatcher", [journal])
    assert record.evidence.ok
    assert (tmp_path / "down-dispatcher").exists()
    with pytest.raises(FaultError, match="has its effect already"):
        apply_fault(runtime, "kill", "dispatcher", [journal])
    [healed] = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert not (tmp_path / "down-dispatcher").exists()
    assert open_faults(journal) == []


def test_a_member_that_does_not_answer_after_the_heal_is_not_healed(make, journal):
    runtime = make(f"{CONFIG}members: {{dispatcher: 'http://127.0.0.1:1'}}\n{HOOKS}")
    apply_fault(runtime, "kill", "dispatcher", [journal])
    [healed] = heal_all(runtime, [journal])
    assert not healed.evidence.ok
    assert "no answer from 127.0.0.1:1" in healed.evidence.facts["not_ready"]


def test_a_command_that_fails_is_told_and_leaves_the_fault_without_evidence(make, journal):
    runtime = make(CONFIG + HOOKS)
    with pytest.raises(FaultError, match="the command ended with 4: no right to do that"):
        apply_fault(runtime, "freeze", "dispatcher", [journal])
    [left] = open_faults(journal)
    assert (left.name, left.target) == ("freeze", "dispatcher")
    assert not apply_fault(runtime, "restart", "dispatcher", [journal]).evidence.ok
