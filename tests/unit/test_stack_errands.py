import json
import os
import signal
import subprocess
import sys
import time

import pytest

from control_room.stack.local import errands, launch, processes
from control_room.stack.local.layout import Layout
from control_room.stack.runtime import StackError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STARTER = (
    "import sys, time; from pathlib import Path; from control_room.stack.local import errands\n"
    "folder = Path(sys.argv[1])\n"
    "with errands.running(folder, 'training', sys.argv[2:], env={}, output=folder / 'out'):\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "state")
    made.prepare()
    return made


def noted(layout, name):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        note = processes.read_note(layout.run_dir / f"errand-{name}.pid.json")
        process = note.process() if note else None
        if process is not None:
            return process
        time.sleep(0.02)
    pytest.fail(f"{name} was never noted")


def test_an_errand_gives_its_status_and_what_it_printed_and_leaves_no_file(layout):
    program = "import os, sys; print(os.environ['ONLY']); print('oh', file=sys.stderr); sys.exit(3)"
    argv = [sys.executable, "-u", "-c", program]
    assert errands.run(layout.run_dir, "one", argv, env={"ONLY": "this"}, timeout_s=20) == (3, ["this", "oh"])
    assert list(layout.run_dir.iterdir()) == []


def test_an_errand_that_takes_too_long_is_killed_and_named(layout):
    with pytest.raises(StackError, match=r"\(slow\) was not done after"):
        errands.run(layout.run_dir, "slow", SLEEP, env={}, timeout_s=0.3)
    assert list(layout.run_dir.iterdir()) == []


def test_what_a_killed_up_was_doing_is_ended_by_the_next_one(layout):
    starter = subprocess.Popen([sys.executable, "-c", STARTER, layout.run_dir, *SLEEP])
    orphan = noted(layout, "training")
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert not processes.is_gone(orphan), "nobody has ended it yet"
    assert errands.end_all(layout) == ["training"]
    assert processes.is_gone(orphan)
    assert list(layout.run_dir.glob("errand-*")) == []
    assert errands.end_all(layout) == []


def test_a_process_that_got_the_pid_of_an_errand_is_left_alone(layout):
    note = layout.run_dir / "errand-initdb.pid.json"
    note.write_text(json.dumps({"pid": os.getpid(), "mark": launch.start_mark() + "1"}))
    assert errands.end_all(layout) == []
    assert not note.exists()
