"""The logs of all members in the control room."""

from types import SimpleNamespace

import pytest

from control_room.stack.runtime import MEMBERS
from control_room.tracking import log_tail
from control_room.tracking.log_tail import LogTail
from tests.unit.member_processes import wait_until


@pytest.fixture
def ports():
    """Where members answer: those of the usual ones are of no interest here."""
    return {}


@pytest.fixture
def tail(tmp_path, ports):
    def log_paths(member):
        path = tmp_path / f"{member}.log"
        return [path] if path.exists() else []

    made = LogTail(SimpleNamespace(log_paths=log_paths, endpoints=lambda: SimpleNamespace(ports=ports)))
    yield made
    made.stop()


def test_members_whose_logs_appear_one_after_the_other_are_all_followed(tail, tmp_path):
    """As they do while a stack starts that the control room was opened before."""
    assert tail.read().lines == ()
    for member in MEMBERS:
        (tmp_path / f"{member}.log").write_text("begins\n", encoding="utf-8")
        tail.read()
    for member in MEMBERS:
        with (tmp_path / f"{member}.log").open("a", encoding="utf-8") as file:
            file.write("goes on\n")
    wait_until(lambda: len(tail.read().lines) == 2 * len(MEMBERS))
    told = [(line.member, line.text) for line in tail.read().lines]
    assert sorted(told) == sorted((member, text) for member in MEMBERS for text in ("begins", "goes on"))


def test_a_replica_that_comes_after_all_others_is_followed_too(tail, tmp_path, ports, monkeypatch):
    monkeypatch.setattr(log_tail, "LOOK_AGAIN_S", 0.05)
    for member in MEMBERS:
        (tmp_path / f"{member}.log").write_text("begins\n", encoding="utf-8")
    assert len(tail.read().lines) == len(MEMBERS)
    (tmp_path / "ingestion-api-4.log").write_text("late\n", encoding="utf-8")
    ports["ingestion-api-4"] = 8004
    wait_until(lambda: ("ingestion-api-4", "late") in [(line.member, line.text) for line in tail.read().lines])
    assert len(tail.read().lines) == len(MEMBERS) + 1, "nobody else is followed twice"
