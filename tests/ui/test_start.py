"""What the first screen does not wait for, and what is pressed before all of it is there."""

import threading

import pytest

from control_room.tracking.listing import Order
from control_room.ui import app as app_module
from control_room.ui.app import ControlRoom
from control_room.ui.memory import Memory
from control_room.ui.views.chaos import ChaosView
from tests.ui.driving import FakeDesk, Source, driving, screen_text, wait_for
from tests.ui.moments import EMPTY, HEALTHY


@pytest.fixture
def gate(monkeypatch):
    """Until it is set, one of the hidden views is still being loaded."""
    gate, load_view = threading.Event(), app_module.load_view

    def load(name):
        if name == "kafka":
            gate.wait(10)
        return load_view(name)

    monkeypatch.setattr(app_module, "load_view", load)
    yield gate
    gate.set()


async def test_the_first_screen_stands_before_the_other_views_are_loaded_and_keys_are_kept(gate):
    app = ControlRoom(Source(HEALTHY), FakeDesk)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "kafka-1" in screen_text(app))
        await pilot.press("7")
        assert not app.complete
        assert app.view_name == "stack"
        gate.set()
        await wait_for(pilot, lambda: app.view_name == "logs" and app.view.display)


async def test_leaving_waits_for_no_view(gate):
    app = ControlRoom(Source(EMPTY), FakeDesk)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.snapshot is EMPTY)
        await pilot.press("q")
        await wait_for(pilot, lambda: not app.is_running)
        assert not app.complete


async def test_what_a_job_finds_while_the_views_are_taken_down_is_for_nobody(monkeypatch):
    """Textual takes them down by itself too, after an error or a signal, and nobody has called `exit` then."""
    ended, told, ticks = threading.Event(), [], []

    def taken_down(view):
        ended.set()
        [job] = [each for each in threading.enumerate() if each.name == "job-1"]
        job.join(30)
        view.app.tick()
        ticks.append(view.query("#offers"))

    monkeypatch.setattr(ChaosView, "on_unmount", taken_down, raising=False)
    async with driving() as (_, app, _, _):
        app.run_job("looks", "", lambda _: ended.wait(30), told.append)
    assert len(ticks) == 1
    assert not ticks[0]
    assert told == []


async def test_what_is_remembered_of_hidden_views_is_not_forgotten_before_they_are_there(gate, tmp_path):
    path = tmp_path / "room.json"
    path.write_text('{"view": "stack", "order": "oldest undelivered first", "filter": "try>2"}')
    app = ControlRoom(Source(HEALTHY), FakeDesk, memory=Memory(path))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.snapshot is HEALTHY)
        app.tick()
        gate.set()
        await wait_for(pilot, lambda: app.complete)
        assert app.query_one("#transactions").query_now.order is Order.OLDEST_OPEN
        assert "try>2" in path.read_text()
