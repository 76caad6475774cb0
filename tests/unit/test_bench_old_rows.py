"""The bench's row of old rows: what two stacks beside each other are compared by."""

from contextlib import contextmanager, nullcontext

import pytest

from bench import by_turns
from bench.alone import ALONE, Alone

ROW = {row.name: row for row in ALONE}["old-rows"]


class Stack:
    """Stands in for a bench: loops that say what they were given, in the order in which they ran."""

    def __init__(self, state_dir, ran):
        self.name = state_dir.name
        self.ran = ran
        self.conninfo = f"of the stack {self.name}"

    def run(self, load):
        assert (load.events, load.rate_per_s) == (50_000, None)
        turn = sum(name == self.name for name in self.ran)
        self.ran.append(self.name)
        rate = {"without": 3000.0, "with": 2850.0}[self.name] if turn >= 3 else 1.0
        return {
            "delivered_per_s": rate * (5 if turn == 4 else 1),
            "cpu_s_per_1000": {"without": 0.40, "with": 0.43}[self.name],
            "missing": 1 if (turn, self.name) == (8, "with") else 0,
            "scheduled_to_delivered_ms": {"p99": 50.0},
        }


class Machine:
    """Which stacks were up, and what happened on them."""

    def __init__(self):
        self.up, self.ran, self.filled = [], [], []

    @contextmanager
    def running_stack(self, state_dir, receiver, settings, say):
        assert (receiver, settings) == ("receiver", {"MAX_RETRIES": "2"})
        self.up.append(state_dir.name)
        yield state_dir
        self.up.remove(state_dir.name)

    def fill(self, conninfo, count, **_):
        assert self.up == ["without", "with"]
        self.filled.append((conninfo, count))
        return 1.5


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr(by_turns, "Receiver", lambda port: nullcontext("receiver"))
    monkeypatch.setattr(by_turns, "running_stack", made.running_stack)
    monkeypatch.setattr(by_turns, "Bench", lambda state_dir, receiver, say: Stack(state_dir, made.ran))
    monkeypatch.setattr(by_turns, "fill", made.fill)
    return made


def measured(tmp_path):
    said = []
    found = ROW.measure(Alone(tmp_path, 1, said.append, {"MAX_RETRIES": "2"}, 7))
    assert len(said) == 18
    return found


def test_old_rows_are_compared_by_loops_in_turns_on_two_stacks_of_which_one_has_them(machine, tmp_path):
    found = measured(tmp_path)
    assert machine.filled == [("of the stack with", 7)]
    assert machine.up == []
    assert machine.ran == ["without", "with", "with", "without"] * 4 + ["without", "with"]
    assert len(found["with"]) == len(found["without"]) == 6, "the first three of each warm what has just started"


def test_what_old_rows_cost_is_the_median_and_one_loop_that_strays_changes_nothing(machine, tmp_path):
    found = measured(tmp_path)
    assert (found["slower"], found["dearer"], found["missing"]) == (0.05, 0.075, 1)
    assert ROW.tell(found).startswith("+5.0% slower (3000/s without, 2850/s), +7.5% CPU (0.40, 0.43 per 1,000), 1 miss")
