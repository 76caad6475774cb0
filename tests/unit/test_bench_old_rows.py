"""The bench's row of old rows: what two stacks beside each other are compared by."""

from contextlib import contextmanager

import pytest

from bench import rows

ROW = {row.name: row for row in rows.FULL}["old-rows"]


class Stacks:
    """Stands in for a bench: loops that say what they were given, in the order in which they ran."""

    def __init__(self, name="with", ran=None):
        self.name = name
        self.ran = [] if ran is None else ran
        self.old_rows, self.conninfo, self.down = 7, f"of the stack {name}", False

    def say(self, sentence):
        assert sentence

    @contextmanager
    def beside(self):
        self.other = Stacks("without", self.ran)
        yield self.other
        self.other.down = True

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


@pytest.fixture
def filled(monkeypatch):
    calls = []
    monkeypatch.setattr(rows, "fill", lambda conninfo, count, **_: calls.append((conninfo, count)) or 1.5)
    return calls


def test_old_rows_are_compared_by_loops_in_turns_on_two_stacks_of_which_one_has_them(filled):
    stacks = Stacks()
    found = ROW.measure(stacks)
    assert filled == [("of the stack with", 7)]
    assert stacks.other.down
    assert stacks.ran == ["without", "with", "with", "without"] * 4 + ["without", "with"]
    assert len(found["with"]) == len(found["without"]) == 6, "the first three of each warm what has just started"


def test_what_old_rows_cost_is_the_median_and_one_loop_that_strays_changes_nothing(filled):
    found = ROW.measure(Stacks())
    assert (found["slower"], found["dearer"], found["missing"]) == (0.05, 0.075, 1)
    assert ROW.tell(found).startswith("+5.0% slower (3000/s without, 2850/s), +7.5% CPU (0.40, 0.43 per 1,000), 1 miss")
