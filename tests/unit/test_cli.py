"""The command line's own promises: quick help, sentences instead of tracebacks, exit codes."""

import json
import subprocess
import sys

import pytest

from control_room.cli.main import VERBS

HEAVY = ("aiohttp", "confluent_kafka", "granian", "flask", "psycopg", "pydantic", "rich.live", "textual", "uvloop")
_HELP = """
import sys
from control_room.cli.main import cli
try:
    cli.main({words}, prog_name="bruce-control")
except SystemExit as end:
    assert not end.code, end.code
found = [name for name in {heavy} if name in sys.modules]
assert not found, found
"""


def bruce(tmp_path, *words, **environ):
    command = [sys.executable, "-m", "control_room.cli", *words]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "BRUCE_STATE": str(tmp_path / "state")}
    env |= {"BRUCE_RUNTIME": "local", **environ}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_quick_because_it_loads_no_client_and_no_server(verb):
    words = [verb, "--help"] if verb else ["--help"]
    script = _HELP.format(words=words, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage: bruce-control" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("logs",),
        ("replay",),
        ("chaos", "kill", "kafka-1"),
        ("heal",),
        ("events",),
        ("event", "4d3d"),
        ("redeliver", "4d3d", "--yes"),
    ],
)
def test_without_a_stack_each_verb_says_how_to_start_one_and_exits_with_3(tmp_path, words):
    done = bruce(tmp_path, *words)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "bruce-control up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("chaos", "kill", "kafka-9"), "kafka-9"),
        (("replay", "--rate", "5", "--speed", "2", "--dry-run"), "exclude each other"),
        (("replay", "missing.csv", "--dry-run"), "missing.csv"),
        (("verify", "no-such-run"), "no-such-run"),
        (("check",), "there is no run"),
        (("logs", "nobody"), "nobody"),
        (("nonsense",), "nonsense"),
        (("redeliver",), "give transaction ids, or --filter"),
        (("redeliver", "4d3d", "--filter", "state:dead", "--yes"), "not both"),
        (("redeliver", "--filter", " ", "--yes"), "--filter state:delivered,dead"),
        (("redeliver", "4d3d"), "say --yes"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(tmp_path, words, sentence):
    done = bruce(tmp_path, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_port_stops_the_start_with_its_name_and_what_is_allowed(tmp_path):
    done = bruce(tmp_path, "up", NGINX_PORT="eighty")
    assert done.returncode == 3
    assert "NGINX_PORT must be a port number from 1 to 65535" in done.stderr


def test_a_dry_run_sends_nothing_and_counts_what_it_would_send(tmp_path):
    done = bruce(tmp_path, "replay", "--dry-run", "--json", "--max", "10")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["payments"], found["bad_rows"]) == (10, 0)
    assert '"Transaction ID"' in found["first"]
    assert not (tmp_path / "state").exists()


def test_a_file_without_the_needed_columns_is_refused_with_their_names(tmp_path):
    (tmp_path / "some.csv").write_text("Transaction ID,Timestamp\n1,2\n", encoding="utf-8")
    done = bruce(tmp_path, "replay", "some.csv", "--dry-run")
    assert done.returncode == 2
    assert "Amount (INR)" in done.stderr


def test_strict_sends_nothing_where_one_row_is_bad(tmp_path):
    header = "Transaction ID,Timestamp,Sender Name,Sender UPI ID,Receiver Name,Receiver UPI ID,Amount (INR),Status"
    row = "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f,2026-01-31 10:15:00,A,a@x,B,b@y,abc,SUCCESS"
    (tmp_path / "bad.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    found = json.loads(bruce(tmp_path, "replay", "bad.csv", "--dry-run", "--json").stdout)
    assert found["bad_rows"] == 1
    assert found["bad_row_examples"][0]["line"] == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(tmp_path, shell):
    done = bruce(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert "_BRUCE_CONTROL_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("broker-1=python", "there is no member 'broker-1'; the members are postgres"),
        ("dispatcher", "dispatcher needs a command"),
        ('dispatcher="python', "cannot be read as a command"),
        ("dispatcher=no-such-program -m x", "there is no program 'no-such-program'"),
    ],
)
def test_a_replacement_that_cannot_run_starts_nothing(tmp_path, given, sentence):
    done = bruce(tmp_path, "up", "--replace", given)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "state").exists()


def test_without_a_verb_and_without_a_terminal_it_prints_its_help(tmp_path):
    done = bruce(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage: bruce-control" in done.stdout


@pytest.mark.parametrize("loads_kafka", [True, False])
def test_with_kafkas_client_loaded_nothing_is_torn_down_that_its_threads_use(loads_kafka):
    """Torn down below a thread in the middle of a TLS handshake, a replay that went well ended with status -11."""
    program = f"""
import os, sys
if {loads_kafka}:
    import confluent_kafka
from control_room.cli.main import main
class TornDown:
    def __del__(self, write=os.write):
        write(2, b"torn down")
kept = TornDown()
sys.argv = ["bruce-control", "completion", "bash"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "bruce" in done.stdout  # all that it printed has arrived
    assert ("torn down" in done.stderr) is not loads_kafka
