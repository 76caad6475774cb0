"""A full disk and a wrong clock on real processes: seen in the member's own words, undone while it runs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from control_room.chaos import clock_step, disk_full
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import apply_fault, heal_all
from control_room.chaos.open_faults import open_faults
from control_room.stack.local import clocks, full_disk, launch
from control_room.stack.local.layout import Layout, write_json
from tests.unit.member_processes import ProcessRuntime, wait_until

WRITER = """
import sys, time, subprocess
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]] + sys.argv[1:2]) if len(sys.argv) > 2 else None
path = Path(sys.argv[1] + (".child" if child is None else ""))
with path.open("ab", buffering=0) as file:
    while True:
        try:
            file.write(b"x" * 50)
        except OSError as error:
            print("cannot write:", error.strerror, flush=True)
        time.sleep(0.01)
"""

pytestmark = pytest.mark.skipif(full_disk.unavailable() is not None, reason=str(full_disk.unavailable()))


class Writing(ProcessRuntime):
    """A merchant-server that writes its ledger all the time, and a child that writes a file of its own."""

    def __init__(self, state):
        self.layout = Layout(state)
        self.layout.prepare()
        self.log = self.layout.log_file("merchant-server")
        super().__init__(["merchant-server"])
        self.start_writer()

    def start_writer(self):
        argv = [sys.executable, "-c", WRITER, str(self.layout.ledger_file), WRITER]
        spec = self.layout.spec_file("merchant-server")
        note = str(self.layout.pid_file("merchant-server"))
        kept = json.loads(spec.read_text()) if spec.exists() else {}
        write_json(spec, {**kept, "argv": argv, "env": dict(os.environ), "cwd": "/", "record": note})
        with self.log.open("ab") as log:
            command = [sys.executable, "-I", "-S", launch.__file__, str(spec)]
            self.writer = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: full_disk.processes.read_note(self.layout.pid_file("merchant-server")) is not None)

    def end_writer(self):
        os.killpg(self.writer.pid, signal.SIGKILL)
        self.writer.wait()

    def log_paths(self, member):
        return [self.log]

    def disk_full_unavailable(self):
        return full_disk.unavailable()

    def fill_disk(self, member):
        return full_disk.fill(self.layout, member)

    def free_disk(self, member):
        full_disk.free(self.layout, member)

    def disk_is_full(self, member):
        return full_disk.is_full(self.layout, member)

    def size(self, suffix=""):
        path = self.layout.ledger_file.with_name(self.layout.ledger_file.name + suffix)
        return path.stat().st_size if path.exists() else 0

    def close(self):
        self.end_writer()
        super().close()


@pytest.fixture
def runtime(tmp_path):
    made = Writing(tmp_path / "state")
    wait_until(lambda: made.size() > 1000 and made.size(".child") > 1000)
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def test_no_process_of_the_member_writes_on_until_the_heal_and_then_the_same_one_does(runtime, journal):
    record = apply_fault(runtime, "disk-full", "merchant-server", [journal])
    assert record.evidence.ok, record.evidence
    assert "File too large" in record.evidence.facts["error"]
    limit_bytes = record.evidence.facts["limit_bytes"]
    wait_until(lambda: min(runtime.size(), runtime.size(".child")) >= limit_bytes)
    full, child = runtime.size(), runtime.size(".child")
    said = runtime.log.stat().st_size
    wait_until(lambda: runtime.log.stat().st_size > said + 500)  # both have tried again meanwhile
    assert (runtime.size(), runtime.size(".child")) == (full, child)
    [healed] = heal_all(runtime, [journal])
    assert healed.evidence.ok
    wait_until(lambda: runtime.size() > full + 200 and runtime.size(".child") > child + 200)
    assert open_faults(journal) == []


def test_one_that_is_started_again_finds_its_disk_still_full(runtime, journal):
    apply_fault(runtime, "disk-full", "merchant-server", [journal])
    runtime.end_writer()
    said = runtime.log.stat().st_size
    runtime.start_writer()
    wait_until(lambda: runtime.log.stat().st_size > said)
    assert b"File too large" in runtime.log.read_bytes()[said:]
    with pytest.raises(FaultError, match="full for merchant-server already"):
        apply_fault(runtime, "disk-full", "merchant-server", [journal])
    heal_all(runtime, [journal])


def test_a_member_that_writes_nothing_is_no_evidence(runtime, journal, monkeypatch):
    monkeypatch.setattr(disk_full, "SEEN_DEADLINE_S", 0.3)
    os.killpg(runtime.writer.pid, signal.SIGSTOP)
    assert not apply_fault(runtime, "disk-full", "merchant-server", [journal]).evidence.ok
    os.killpg(runtime.writer.pid, signal.SIGCONT)
    heal_all(runtime, [journal])


@pytest.mark.parametrize(("text", "by_s"), [("+90s", 90), ("-60m", -3600), ("+ 2 m", 120), ("-90", -90)])
def test_a_step_says_its_direction_and_its_length(text, by_s):
    assert clock_step.step_s(text) == by_s


@pytest.mark.parametrize("text", ["90s", "+1s", "+2000m", "+soon", "", "-"])
def test_what_is_no_step_is_a_sentence(text):
    with pytest.raises(FaultError, match=r"by: .*"):
        clock_step.ClockStep.by("dispatcher", {"by": text})


def test_a_step_takes_by_and_nothing_else():
    with pytest.raises(FaultError, match="takes `by`"):
        clock_step.ClockStep.by("dispatcher", {"by": "+90s", "at": 1})


def test_a_process_under_the_library_sees_the_step_and_sleeps_as_before(tmp_path):
    assert clocks.unavailable({}) is None, "the dev extra brings libfaketime"
    layout = Layout(tmp_path / "state")
    layout.prepare()
    write_json(layout.spec_file("dispatcher"), {"argv": [], "env": {"PATH": "/bin"}})
    postgres = clocks.Postgres(tmp_path, tmp_path, None, tmp_path)
    clocks.put_under(layout, postgres, "dispatcher", {})
    assert clocks.is_under(layout, "dispatcher")
    env = json.loads(layout.spec_file("dispatcher").read_text())["env"]
    code = "import time\nwhile True:\n time.sleep(0.05)\n print(time.time(), time.monotonic(), flush=True)"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code], env=env, stdout=subprocess.PIPE) as process:
        try:
            assert abs(float(process.stdout.readline().split()[0]) - time.time()) < 5
            clocks.step(layout, "dispatcher", -3600)
            until = time.monotonic() + 20
            while float((seen := process.stdout.readline().split())[0]) > time.time() - 3000:
                assert time.monotonic() < until, "the step was not seen"
            assert abs(float(seen[1]) - time.monotonic()) < 5, "the monotonic clock goes on"
        finally:
            process.kill()
            process.wait()
            clocks.forget(process.pid)
    clocks.release(layout, "dispatcher")
    assert json.loads(layout.spec_file("dispatcher").read_text())["env"] == {"PATH": "/bin"}
