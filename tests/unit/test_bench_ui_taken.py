"""What watching takes is what the windows with it have less than those without, drift of the machine left out."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from scripts.bench_ui import taken as taken_module
from scripts.bench_ui.taken import Window, fours_of, lost, taken


def window(number, watched):
    return Window(watched, number * 10.0, number * 10.0 + 5.0, busy_s=8.0, room_s=0.4 if watched else 0.0)


def delivered(per_s):
    """Evenly, `per_s` for each ten seconds."""
    return [number * 10.0 + at * 10.0 / (each * 10) for number, each in enumerate(per_s) for at in range(each * 10)]


def test_a_drift_of_the_machine_is_not_taken_for_what_watching_takes():
    windows = [window(number, watched) for number, watched in enumerate([True, False, False, True] * 2)]
    growing = delivered([100, 110, 120, 130, 200, 190, 180, 170, 10])
    fours = fours_of(windows, growing)
    assert [[each.per_s for each in four] for four in fours] == [
        pytest.approx([100, 110, 120, 130], abs=1),
        pytest.approx([200, 190, 180, 170], abs=1),
    ]
    share, error = lost([[each.per_s for each in four] for four in fours])
    assert share == pytest.approx(0.0, abs=0.01)
    assert error == pytest.approx(0.0, abs=0.01)


def test_what_the_windows_with_it_have_less_is_what_it_takes():
    share, error = lost([[95.0, 100.0, 100.0, 95.0], [180.0, 200.0, 200.0, 180.0]])
    assert (share, error) == (pytest.approx(0.075), pytest.approx(0.025))


def test_a_window_after_the_end_of_the_load_and_a_four_that_is_not_whole_count_for_nothing():
    windows = [window(number, watched) for number, watched in enumerate([True, False, False, True] * 2)]
    assert len(fours_of(windows, delivered([100] * 7))) == 1
    assert fours_of(windows, []) == []
    assert fours_of(windows, delivered([100] * 4))[0][0].per_busy_s == pytest.approx(500 / 8.0, abs=1)


def test_what_was_missed_while_it_was_held_still_is_not_counted_when_it_is_read(monkeypatch):
    done, waited = [], []
    process = SimpleNamespace(resume=lambda: done.append(True), suspend=lambda: done.append(False))
    load = SimpleNamespace(poll=lambda: 0 if len(done) == 8 else None)
    monkeypatch.setattr(taken_module.time, "sleep", lambda seconds: waited.append((len(done), seconds)))
    windows = taken_module._windows(SimpleNamespace(process=process, cpu_s=lambda: 0.0), load, lambda _: None)
    left_out = [seconds for number, seconds in waited if number and seconds != taken_module._COUNTED_S]
    assert [each.watched for each in windows] == [True, False, False, True] * 2
    more, less = taken_module._CATCHES_UP_S, taken_module._SETTLES_S
    assert left_out == [less, less, less, more, less, less, less, more]
    assert more > 2 * less


def test_a_measurement_that_is_broken_off_ends_its_load_and_lets_the_room_go_on(tmp_path, monkeypatch):
    def broken_off():
        raise KeyboardInterrupt

    started, said = [], []
    real = subprocess.Popen
    monkeypatch.setattr(taken_module.subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    monkeypatch.setattr(taken_module, "_BEGINS_S", 0.0)
    monkeypatch.setattr(taken_module, "_SETTLES_S", 0.0)
    process = SimpleNamespace(resume=lambda: said.append("resumed"), suspend=lambda: said.append("held"))
    terminal = SimpleNamespace(process=process, cpu_s=broken_off)
    # Nobody waits for this: it stands for a load that goes on, which the test sees ended long before by being ended.
    load = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt):
        taken(terminal, load, tmp_path, said.append)
    assert started[0].poll() is not None
    assert said[-1] == "resumed"
