"""The walk of a first-time user, by keys alone, in a terminal, on a stack that really runs."""

import json

import psutil

from control_room.stack.runtime import MEMBERS
from tests.e2e.conftest import COMMAND, QUICK, Bruce, wait_for
from tests.e2e.terminal import ENTER, ESCAPE, RIGHT, Terminal


def kill(terminal, member):
    """The key, and the answer that is not Cancel."""
    down = MEMBERS.index(member)
    terminal.press("1")
    terminal.wait_for("[1 Stack]")
    terminal.press("g", *"j" * down)
    wait_for(lambda: terminal.line_with("▶", member), 10, f"the cursor on {member}", terminal.text)
    terminal.press("K")
    terminal.wait_for("Cancel")
    terminal.press(RIGHT, ENTER)
    terminal.wait_for(member, "stopped", within_s=60)


def test_from_an_empty_screen_to_a_proven_run_and_nothing_left_running(tmp_path):
    bruce = Bruce(tmp_path / "state", COMMAND, tmp_path, **QUICK, XDG_CONFIG_HOME=str(tmp_path / "config"))
    try:
        with Terminal([COMMAND], tmp_path, bruce.environ, 80, 24) as terminal:
            terminal.wait_for("No stack is up.")
            terminal.press("u")
            terminal.wait_for("11/11 up", within_s=180)
            pids = [member["pid"] for member in bruce.json("status")["members"]["value"]]
            assert len(pids) == len(MEMBERS)
            terminal.press("P")
            terminal.wait_for("enter sends it")
            terminal.press(ENTER)
            terminal.wait_for("accepted =", "in flight", within_s=60)
            kill(terminal, "kafka-2")
            terminal.resize(160, 48)
            terminal.wait_for("[1 Stack]")
            kill(terminal, "dispatcher")
            terminal.press("4")
            terminal.wait_for("[4 Chaos]")
            terminal.press("!")
            terminal.wait_for("ARMED")
            terminal.resize(80, 24)
            terminal.press("H")
            terminal.wait_for("11/11 up", within_s=120)
            terminal.wait_for("1000 accepted", within_s=120)
            terminal.press("6")
            terminal.wait_for("[6 Reports]")
            terminal.press("v")
            terminal.wait_for("PROVEN: every acknowledged event", within_s=240)
            terminal.press(ESCAPE)  # the page that tells the verdict
            terminal.wait_for("[6 Reports]")
            terminal.press("e")
            (run,) = (tmp_path / "state" / "runs").iterdir()
            names = ("report.html", "junit.xml", "deliveries.csv", "attempts.csv", "report.md")
            wait_for(lambda: all((run / name).exists() for name in names), 60, "the report's files", terminal.text)
            terminal.wait_for("Exported")
            terminal.press(ESCAPE)
            terminal.wait_for("[6 Reports]")
            terminal.press("q")
            terminal.wait_for("Leave the control room?")
            terminal.press(RIGHT, RIGHT, ENTER)
            wait_for(lambda: terminal.process.poll() is not None, 120, "the end of the app", terminal.text)
            assert terminal.process.returncode == 0
        verdict = json.loads((run / "verdict.json").read_text())
        assert verdict["verdict"] == "proven"
        assert verdict["arithmetic"]["accepted"] == 1000
        faults = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
        killed = {line["target"] for line in faults if line["k"] == "apply" and line["name"] == "kill"}
        assert killed == {"kafka-2", "dispatcher"}
        assert (run / "deliveries.csv").read_text().count("\n") == 1001
        assert not [pid for pid in pids if pid is not None and psutil.pid_exists(pid)]
        bruce.run("status", expect=3)
    finally:
        bruce.run("down", "--volumes", expect=None)
