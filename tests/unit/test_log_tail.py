"""The logs of all members in the control room."""

from types import SimpleNamespace

import pytest

from control_room.stack.runtime import MEMBERS
from control_room.tracking.log_tail import LogTail
from tests.unit.member_processes import wait_until


@pytest.fixture
def tail(tmp_path):
    def log_paths(member):
        path = tmp_path / f"{member}.log"
        return [path] if path.exists() else []

    made = LogTail(SimpleNamespace(log_paths=log_paths, endpoints=lambda: SimpleNamespace(ports={})))
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
