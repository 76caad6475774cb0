"""Crash points in a service: nothing without the setting, one end per arming with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common import crash
from services.common.settings import ServiceSettings

_SERVICE = """
from services.common import crash
for _ in range(3):
    crash.point("dispatcher.after-2xx")
print("went on")
"""


def run(folder, script=_SERVICE, member="dispatcher"):
    settings = {"CRASH_POINTS": str(folder), "MEMBER_NAME": member} if folder else {}
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **settings}, capture_output=True, text=True, timeout=30
    )


def test_an_armed_point_ends_the_process_with_its_own_code_once(tmp_path):
    crash.arm_file(tmp_path, "dispatcher", "dispatcher.after-2xx").touch()
    ended = run(tmp_path)
    assert ended.returncode == crash.POINTS["dispatcher.after-2xx"].exit_code
    assert ended.stdout == ""
    assert "crash point dispatcher.after-2xx reached" in ended.stderr
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path).stdout == "went on\n", "one arming, one end"


def test_a_container_goes_by_the_name_that_the_service_itself_goes_by(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(crash, "own_name", lambda: "dispatcher")
    monkeypatch.setattr(crash.os, "_exit", ended.append)
    crash.arm_file(tmp_path, "dispatcher", "dispatcher.after-2xx").touch()
    crash.chosen_by({"CRASH_POINTS": str(tmp_path)})("dispatcher.after-2xx")
    assert ended == [crash.POINTS["dispatcher.after-2xx"].exit_code]


def test_a_point_armed_in_another_member_or_another_point_ends_nothing(tmp_path):
    crash.arm_file(tmp_path, "ingestion-api-1", "dispatcher.after-2xx").touch()
    crash.arm_file(tmp_path, "dispatcher", "dispatcher.before-commit").touch()
    assert run(tmp_path).returncode == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_without_the_setting_a_point_is_a_call_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("it would have ended the process"))
    crash.arm_file(tmp_path, "dispatcher", "dispatcher.after-2xx").touch()
    for environ in ({}, {"CRASH_POINTS": ""}, {"MEMBER_NAME": "dispatcher"}):
        assert crash.chosen_by(environ) is crash.chosen_by({})
    crash.chosen_by({})("dispatcher.after-2xx")


def test_every_point_has_a_code_that_nothing_else_ends_with():
    codes = [point.exit_code for point in crash.POINTS.values()]
    assert len(set(codes)) == len(codes) == 8
    assert all(64 < code < 126 for code in codes)


def test_every_point_stands_in_its_service():
    rooms = {"api": "ingestion_api", "publisher": "outbox_publisher", "dispatcher": "dispatcher"}
    services = Path(crash.__file__).parents[1]
    for name in crash.POINTS:
        sources = (services / rooms[name.partition(".")[0]]).glob("*.py")
        assert any(f'crash.point("{name}")' in source.read_text(encoding="utf-8") for source in sources), name


def test_a_folder_that_is_not_there_stops_the_start(monkeypatch, tmp_path):
    monkeypatch.setenv("CRASH_POINTS", str(tmp_path))
    assert ServiceSettings().crash_points == tmp_path
    monkeypatch.setenv("CRASH_POINTS", "1")
    with pytest.raises(ValidationError, match="crash_points"):
        ServiceSettings()
