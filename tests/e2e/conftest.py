"""One stack for the whole of e2e, driven only through the command line, as a user would.

Beside it, on a stack of its own, runs the matrix of the quick scenarios: it waits for faults more than it works.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

QUICK = {
    "FAILURE_RATE": "0.2",
    "RETRY_BACKOFF_SEC": "0.5",
    "REQUEST_TIMEOUT_SEC": "1",
    "RETRY_PAUSE_SECONDS": "20",
    "PROBE_INTERVAL_SECONDS": "1",
}
"""Settings that compress time: the rules are the same, the waits shorter."""
COMMAND = str(Path(sys.executable).with_name("bruce-control"))


class Matrix(NamedTuple):
    """A matrix that was started, and where what it prints and writes goes."""

    started: subprocess.Popen
    table: Path
    json: Path
    log: Path


class Bruce:
    """`bruce-control` with one state folder."""

    def __init__(self, state: Path, command: str, cwd: Path, **environ: str):
        self.state = state
        self.command = command
        self.cwd = cwd
        inherited = {k: v for k, v in os.environ.items() if k not in ("HMAC_SECRET", "BRUCE_STATE")}
        self.environ = {**inherited, "BRUCE_STATE": str(state), **environ}

    def start(self, *words: str, stdout=subprocess.PIPE, stderr=subprocess.PIPE) -> subprocess.Popen:
        return subprocess.Popen(
            [self.command, *words],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def run(self, *words: str, expect: int | None = 0, timeout_s: float = 300) -> subprocess.CompletedProcess:
        started = self.start(*words)
        try:
            out, err = started.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            started.kill()
            out, err = started.communicate()
            pytest.fail(f"{words} did not end within {timeout_s} s\n{out}\n{err}")
        done = subprocess.CompletedProcess(words, started.returncode, out, err)
        if expect is not None:
            assert done.returncode == expect, f"{words} ended with {done.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return done

    def json(self, *words: str, **options):
        return json.loads(self.run(*words, "--json", **options).stdout)


def wait_for(condition, deadline_s: float, what: str, seen=lambda: ""):
    """The first true answer of `condition`, asked until `deadline_s` is over; `seen` tells what was there instead."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"not within {deadline_s} s: {what}\n{seen()}")


def pytest_collection_modifyitems(items):
    """What the matrix came to is asked last."""
    items.sort(key=lambda item: "matrix" in item.fixturenames)


@pytest.fixture(scope="session", autouse=True)
def running_matrix(request, tmp_path_factory):
    """`matrix --quick` under way, and the file its table goes to; None where no test asks for it."""
    if not any("matrix" in item.fixturenames for item in request.session.items):
        yield None
        return
    root = tmp_path_factory.mktemp("matrix")
    table = root / "matrix.md"
    with (root / "matrix.json").open("w+") as out, (root / "matrix.log").open("w+") as log:
        bruce = Bruce(root / "state", COMMAND, root, **QUICK, CRASH_POINTS="1")
        started = bruce.start("matrix", "--quick", "--markdown", str(table), "--json", stdout=out, stderr=log)
        yield Matrix(started, table, root / "matrix.json", root / "matrix.log")
        if started.poll() is None:
            started.send_signal(signal.SIGINT)
            started.wait(120)
    bruce.run("down", "--volumes", expect=None)


@pytest.fixture(scope="session")
def bruce(tmp_path_factory):
    """A running stack whose services have their crash points, taken down at the end with its data."""
    root = tmp_path_factory.mktemp("e2e")
    bruce = Bruce(root / "state", COMMAND, root, **QUICK, CRASH_POINTS="1")
    try:
        bruce.run("up")
        yield bruce
    finally:
        bruce.run("down", "--volumes")


@pytest.fixture
def calm(bruce):
    """The same stack, everything running and nothing broken."""
    bruce.run("heal")
    bruce.run("up")
    return bruce
