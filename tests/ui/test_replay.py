"""The view Replay: where the file comes from, and the pace of a replay that goes on."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

import dataset
from control_room.replay.errors import OptionsError
from control_room.replay.progress import Progress
from control_room.tracking.parts import Part
from control_room.ui import csv_tree
from control_room.ui.csv_tree import CsvTree
from control_room.ui.dialogs import Prompt
from control_room.ui.file_picker import FilePicker
from control_room.ui.views import replay as replay_module
from control_room.ui.views.replay import ReplayView
from control_room.ui.widgets.line_list import LineList
from tests.ui.driving import FakeDesk, driving, screen_text, wait_for
from tests.ui.moments import HEALTHY, run

HOSTILE = "evil\x1b[31m[bold]name.csv"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Something to find: a CSV in a folder, one with a hostile name, and what is no CSV."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "night.CSV").write_text("", encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / HOSTILE).write_text("", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sent(folder):
    """A run that was made of a file elsewhere."""
    source, run_dir = folder / "inner" / "night.CSV", folder / "runs" / "20261126-093530-10b2"
    run_dir.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps({"settings": {"source": str(source)}}), encoding="utf-8")
    return replace(HEALTHY, runs=Part((run(path=run_dir),)))


async def picker(pilot, app):
    await pilot.press("5", "o")
    await wait_for(pilot, lambda: isinstance(app.screen, FilePicker) and app.screen.query_one("#known").rows)


def chosen(app):
    return app.query_one(ReplayView).options.source


async def test_what_was_sent_lately_and_the_dataset_need_not_be_looked_for(folder):
    async with driving(sent(folder)) as (pilot, app, _, _):
        await picker(pilot, app)
        known = app.screen.query_one("#known", LineList)
        assert [each.path for each in known.rows][:1] == [folder / "inner" / "night.CSV"]
        assert dataset.PAYMENTS in [each.path for each in known.rows]
        assert known.current.path == dataset.PAYMENTS
        await pilot.press("g", "enter")
        await wait_for(pilot, lambda: chosen(app) == folder / "inner" / "night.CSV")


async def test_a_file_is_found_in_the_tree_which_has_folders_and_csv_files_alone(folder):
    async with driving() as (pilot, app, _, _):
        await picker(pilot, app)
        await pilot.press("tab")
        tree = app.screen.query_one(CsvTree)
        await wait_for(pilot, lambda: len(tree.root.children) == 2)
        text = screen_text(app)
        assert "notes.txt" not in text
        assert ".hidden" not in text
        assert "[bold]name.csv" in text
        assert "\x1b" not in text
        await pilot.press("j", "enter")
        await wait_for(pilot, lambda: len(tree.root.children[0].children) == 1)
        await pilot.press("j", "enter")
        await wait_for(pilot, lambda: chosen(app) == folder / "inner" / "night.CSV")


async def test_the_tree_goes_to_the_folder_above(folder, monkeypatch):
    monkeypatch.chdir(folder / "inner")
    async with driving() as (pilot, app, _, _):
        await picker(pilot, app)
        await pilot.press("tab", "backspace")
        await wait_for(pilot, lambda: len(app.screen.query_one(CsvTree).root.children) == 2)


async def test_a_folder_says_why_it_cannot_be_read_or_that_nothing_fits_in_it(folder):
    async with driving() as (pilot, app, _, _):
        await picker(pilot, app)
        tree = app.screen.query_one(CsvTree)
        await wait_for(pilot, lambda: len(tree.root.children) == 2)
        (folder / "inner" / "night.CSV").unlink()
        await pilot.press("tab", "j", "enter")
        await wait_for(pilot, lambda: "no folder and no CSV file in it" in screen_text(app))
        (folder / "inner").rmdir()
        await pilot.press("enter", "enter")  # closed, and opened: it is read again
        await wait_for(pilot, lambda: "cannot be read: No such file or directory" in screen_text(app))
        await pilot.press("j", "enter")
        assert isinstance(app.screen, FilePicker), "a remark is no file"


@pytest.mark.parametrize("what", ["the tree", "a file sent lately and a path that is typed"])
async def test_a_disk_that_hangs_keeps_neither_the_screen_nor_who_leaves_waiting(folder, monkeypatch, what):
    hanging, never = threading.Event(), threading.Event()

    def hang(*_):
        hanging.set()
        never.wait(60)

    try:
        async with driving(sent(folder)) as (pilot, app, _, _):
            if what == "the tree":
                monkeypatch.setattr(csv_tree, "read_folder", hang)
                await picker(pilot, app)
                await wait_for(pilot, lambda: "reading it …" in screen_text(app))
            else:
                monkeypatch.setattr(Path, "is_file", hang)
                await pilot.press("5", "o")
                await wait_for(pilot, lambda: "what comes with it: looking …" in screen_text(app))
                await wait_for(pilot, hanging.is_set)
                hanging.clear()
                await pilot.press("slash")
                await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
                await pilot.press("enter")
                await wait_for(pilot, lambda: app.screen.query_one("#error").content == "looking …")
            await wait_for(pilot, hanging.is_set)
            began = time.monotonic()
            await pilot.press("ctrl+q")
            await wait_for(pilot, lambda: not app.is_running)
            assert time.monotonic() - began < 1
    finally:
        never.set()


async def test_what_a_disk_says_of_a_text_that_is_another_by_now_counts_for_nothing(folder, monkeypatch):
    slow, answered = threading.Event(), threading.Event()
    real, handle = Path.is_file, Prompt.on_prompt_checked
    monkeypatch.setattr(Prompt, "on_prompt_checked", lambda box, event: (handle(box, event), answered.set()))

    def is_file(path):
        if path.name == "night.CSV":
            slow.wait(30)
        return real(path)

    async with driving() as (pilot, app, _, _):
        await picker(pilot, app)
        before = chosen(app)
        await pilot.press("slash")
        await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
        box = app.screen
        monkeypatch.setattr(Path, "is_file", is_file)
        box.query_one(Input).value = "inner/night.CSV"
        await pilot.press("enter")
        box.query_one(Input).value = "inner/night.CSV2"
        slow.set()
        await wait_for(pilot, answered.is_set)
        assert (app.screen, chosen(app)) == (box, before)


async def test_enter_chooses_nothing_while_no_file_is_known_yet(folder, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(replay_module, "known_files", lambda _: never.wait(60) or [])
    try:
        async with driving() as (pilot, app, _, _):
            await pilot.press("5", "o")
            await wait_for(pilot, lambda: "what comes with it: looking …" in screen_text(app))
            await pilot.press("enter")
            assert isinstance(app.screen, FilePicker)
    finally:
        never.set()


async def test_a_path_can_be_typed_and_one_that_is_not_there_is_told(folder):
    async with driving() as (pilot, app, _, _):
        await picker(pilot, app)
        await pilot.press("slash")
        await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
        app.screen.query_one(Input).value = "nowhere.csv"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "there is no file nowhere.csv" in screen_text(app))
        app.screen.query_one(Input).value = "~nobody-of-that-name/x.csv"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "cannot be looked at" in screen_text(app))
        app.screen.query_one(Input).value = "inner/night.CSV"
        await pilot.press("enter")
        await wait_for(pilot, lambda: chosen(app) == Path("inner/night.CSV"))


class Running:
    """A replay that goes on, in the file's own time."""

    running = True
    progress = None

    def __init__(self):
        self.speed = 1.0

    def change_speed(self, speed):
        self.speed = speed

    def change_rate(self, rate_per_s):
        raise OptionsError("only a replay with a rate can change it")


def going_on():
    """A replay that is half over."""
    replay = Running()
    replay.progress = Progress(
        run_id="20261126-093530-10b2", payments=1_234_567, accepted=1_234_503, duplicates=3, refused={400: 12},
        gave_up=0, in_flight=64, requests=1_234_600, unanswered={"timeout": 7}, bad_rows=2, skipped=0,
        elapsed_s=4_321.0, rate_per_s=512.0, p50_s=0.004, p95_s=0.021, p99_s=0.05, max_s=1.2, expected=2_000_000,
        eta_s=1_200.0, rates_per_s=(500.0, 512.0), p95s_s=(0.02, 0.021),
        bad_row_examples=("line 7: there is no amount",),
    )  # fmt: skip
    return replay


async def test_both_curves_of_a_replay_that_goes_on_are_seen_in_the_smallest_terminal():
    desk = FakeDesk()
    desk.replay = going_on()
    async with driving(desk=desk, size=(80, 24)) as (pilot, app, _, _):
        await pilot.press("5")
        await wait_for(pilot, lambda: "p95, ms         21 " in screen_text(app))
        assert "per second     512 " in screen_text(app)


async def say(pilot, app, key, text):
    await pilot.press(key)
    await wait_for(pilot, lambda: isinstance(app.screen, Prompt))
    app.screen.query_one(Input).value = text
    await pilot.press("enter")
    await wait_for(pilot, lambda: len(app.screen_stack) == 1 or "greater than 0" in screen_text(app))


async def test_the_speed_of_a_replay_that_goes_on_is_changed_as_its_rate():
    desk = FakeDesk()
    desk.replay = Running()
    async with driving(desk=desk, size=(120, 34)) as (pilot, app, _, _):
        await pilot.press("5")
        await say(pilot, app, "x", "0")
        await pilot.press("escape")
        await say(pilot, app, "x", "60")
        assert desk.replay.speed == 60.0
        await wait_for(pilot, lambda: "60 times as fast as in the file" in screen_text(app))
        assert app.query_one(ReplayView).command.endswith("--speed 60 --ids fresh")
        await say(pilot, app, "r", "5")
        await wait_for(pilot, lambda: "keeps its pace" in screen_text(app))
        assert app.query_one(ReplayView).options.speed is None
