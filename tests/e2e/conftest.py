"""One stack for the whole of e2e, driven only through the command line, as a user would."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

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


class Bruce:
    """`bruce-control` with one state folder."""

    def __init__(self, state: Path, command: str, cwd: Path, **environ: str):
        self.state = state
        self.command = command
        self.cwd = cwd
        inherited = {k: v for k, v in os.environ.items() if k not in ("HMAC_SECRET", "BRUCE_STATE")}
        self.environ = {**inherited, "BRUCE_STATE": str(state), **environ}

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.command, *words],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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
