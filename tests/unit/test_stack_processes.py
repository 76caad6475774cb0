import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from control_room.stack.local import launch, processes, takedown
from control_room.stack.local.layout import Layout

FAMILY = (
    "import subprocess, sys, time; "
    "child = [sys.executable, '-c', 'import time; time.sleep(60)']; "
    "subprocess.Popen(child); subprocess.Popen(child, start_new_session=True); "
    "print('born', flush=True); time.sleep(60)"
)
"""A process with a child in its group and one in a session of its own, as Postgres's are."""


@pytest.fixture
def family():
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    everyone = processes.tree(psutil.Process(process.pid))
    yield process, everyone
    processes.kill_all(everyone)
    process.wait()
    process.stdout.close()


def note(tmp_path, **fields):
    path = tmp_path / "member.pid.json"
    path.write_text(json.dumps(fields))
    return processes.read_note(path)


def test_a_noted_process_is_found_by_pid_and_start_mark(tmp_path):
    noted = note(tmp_path, pid=os.getpid(), mark=launch.start_mark())
    assert noted.process().pid == os.getpid()


def test_a_pid_that_belongs_to_another_process_now_is_not_ours(tmp_path):
    assert note(tmp_path, pid=os.getpid(), mark=launch.start_mark() + "1").process() is None
    assert note(tmp_path, pid=os.getpid(), mark="time:1.00").process() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "1", "mark": "x"}', '{"pid": 1}'])
def test_a_note_that_was_cut_names_nobody(tmp_path, text):
    path = tmp_path / "note"
    path.write_text(text)
    assert processes.read_note(path) is None


def test_the_mark_is_the_same_from_inside_and_from_outside():
    assert processes.start_mark(os.getpid()) == launch.start_mark()


def test_a_tree_holds_children_that_left_the_process_group(family):
    process, everyone = family
    assert len(everyone) == 3
    assert everyone[0].pid == process.pid


def test_freezing_and_killing_reach_the_whole_tree(family):
    process, everyone = family
    frozen = processes.freeze_tree(psutil.Process(process.pid))
    assert {one.pid for one in frozen} == {one.pid for one in everyone}
    deadline = time.monotonic() + 5
    while not all(processes.is_frozen(one) for one in everyone):
        assert time.monotonic() < deadline
    processes.kill_all(frozen)
    process.wait()
    assert processes.wait_gone(everyone, 5) == []


def test_survivors_of_a_dead_members_group_are_remnants_of_it(tmp_path, family):
    process, everyone = family
    layout = Layout(tmp_path)
    layout.prepare()
    mark = processes.start_mark(process.pid)
    layout.pid_file("nginx").write_text(json.dumps({"pid": process.pid, "mark": mark}))
    process.kill()
    process.wait()
    assert [one.pid for one in takedown.remnants(layout, "nginx")] == [everyone[1].pid]
    layout.pid_file("nginx").write_text(json.dumps({"pid": process.pid, "mark": "another-boot:1"}))
    assert takedown.remnants(layout, "nginx") == []


def test_a_process_that_got_a_members_pid_is_never_signalled(tmp_path, family):
    process, everyone = family
    layout = Layout(tmp_path)
    layout.prepare()
    mark = processes.start_mark(process.pid) + "1"
    layout.pid_file("nginx").write_text(json.dumps({"pid": process.pid, "mark": mark}))
    assert takedown.thaw(layout, "nginx") == []
    takedown.kill_remnants(layout, ["nginx"])
    takedown.clean_orphans(layout, lambda said: pytest.fail(said))
    assert process.poll() is None
    assert not any(processes.is_gone(one) for one in everyone)


def test_memory_and_processor_time_count_the_whole_tree(family):
    process, _ = family
    used = processes.usage(psutil.Process(process.pid))
    assert used.memory_bytes > 3_000_000
    assert processes.usage(psutil.Process()).cpu_s > 0


def test_memory_is_asked_for_again_and_again_but_not_of_the_kernel(family, monkeypatch):
    process = psutil.Process(family[0].pid)
    memories = processes.Memories()
    once = processes.usage(process, memories=memories).memory_bytes
    monkeypatch.setattr(processes, "memory", lambda process: pytest.fail(f"the kernel is asked again for {process}"))
    assert processes.usage(process, memories=memories).memory_bytes == once
    monkeypatch.setattr(processes, "MEMORY_EVERY_S", 0.0)
    monkeypatch.setattr(processes, "SAME_BYTES", 1 << 40)
    assert processes.usage(process, memories=memories).memory_bytes == once, "as much is resident as was"
    monkeypatch.setattr(processes, "SAME_BYTES", 0)
    monkeypatch.setattr(processes, "SAME_PART", 1 << 40)
    monkeypatch.setattr(processes, "memory", lambda process: 7)
    assert processes.usage(process, memories=memories).memory_bytes % 7 == 0


def test_launch_becomes_the_command_and_notes_its_own_pid(tmp_path):
    spec = {
        "argv": [sys.executable, "-c", "import os; print(os.getpid(), os.environ)"],
        "env": {"ONLY": "this"},
        "cwd": "/",
        "record": str(tmp_path / "pid"),
    }
    (tmp_path / "spec").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, tmp_path / "spec"], capture_output=True, text=True, check=True
    )
    pid, _, rest = done.stdout.partition(" ")
    assert json.loads((tmp_path / "pid").read_text())["pid"] == int(pid)
    assert "'ONLY': 'this'" in rest
    assert "HOME" not in rest


@pytest.mark.parametrize("process_group", [0, None], ids=["a leader of a group", "no leader"])
def test_a_member_with_a_session_of_its_own_keeps_its_pid_and_leads_its_group(tmp_path, process_group):
    ask = "import os; print(os.getpid(), os.getpgrp(), os.getsid(0))"
    spec = {"argv": [sys.executable, "-c", ask], "env": {}, "cwd": "/", "record": str(tmp_path / "pid")}
    (tmp_path / "spec").write_text(json.dumps({**spec, "own_session": True}))
    command = [sys.executable, "-I", "-S", launch.__file__, tmp_path / "spec"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, process_group=process_group)
    pid = json.loads((tmp_path / "pid").read_text())["pid"]
    assert done.stdout.split() == [str(pid)] * 3
    assert done.stderr == ""


def test_launch_says_what_cannot_be_run(tmp_path):
    spec = {"argv": ["/no/such/program"], "env": {}, "cwd": "/", "record": str(tmp_path / "pid")}
    (tmp_path / "spec").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, tmp_path / "spec"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "cannot run /no/such/program: No such file or directory\n")


def test_a_detached_process_is_nobodys_child_and_in_a_session_of_its_own(tmp_path):
    spec = {
        "argv": [sys.executable, "-c", "import time; time.sleep(60)"],
        "env": {},
        "cwd": "/",
        "record": str(tmp_path / "pid"),
        "detach": str(tmp_path / "out"),
    }
    (tmp_path / "spec").write_text(json.dumps(spec))
    subprocess.run([sys.executable, "-I", "-S", launch.__file__, tmp_path / "spec"], check=True)
    deadline = time.monotonic() + 10
    while (noted := processes.read_note(tmp_path / "pid")) is None:
        assert time.monotonic() < deadline
    process = noted.process()
    try:
        assert os.getsid(process.pid) == process.pid
        assert process.pid not in [child.pid for child in psutil.Process().children(recursive=True)]
    finally:
        processes.send([process], signal.SIGKILL)
