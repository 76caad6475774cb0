"""A Compose project as a user gets it, from a clone of this checkout; everything it made is asserted to be gone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from control_room.stack.docker.ports import chosen
from tests.e2e.conftest import QUICK, Bruce

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("bruce-control"))
SECRET = "a-secret-of-the-tests-that-signs-nothing-else"


class Project:
    """One Compose project, driven by plain `docker compose` from a clone's top folder and by `bruce-control`."""

    def __init__(self, clone: Path, state: Path):
        self.clone = clone
        self.name = f"bruce-test-{os.getpid()}"
        settings = {**chosen({}), **QUICK, "HMAC_SECRET": SECRET, "POSTGRES_PASSWORD": "of-the-tests"}
        self.settings = {**settings, "COMPOSE_PROJECT_NAME": self.name, "BRUCE_VERSION": "tests"}
        self.bruce = Bruce(state, COMMAND, state.parent, **self.settings)

    def compose(self, *words: str, expect: int | None = 0, **without: str | None) -> subprocess.CompletedProcess:
        """`docker compose WORDS` in the clone. `without`: variables to set otherwise, None: not at all."""
        environ = {key: value for key, value in {**os.environ, **self.settings, **without}.items() if value is not None}
        done = subprocess.run(
            ["docker", "compose", *words], cwd=self.clone, env=environ, text=True, capture_output=True, timeout=900
        )
        if expect is not None:
            assert done.returncode == expect, f"docker compose {words} ended with {done.returncode}\n{done.stderr}"
        return done

    def control(self, *words: str, **options) -> subprocess.CompletedProcess:
        """`bruce-control --runtime docker WORDS`."""
        return self.bruce.run("--runtime", "docker", *words, **options)

    def control_json(self, *words: str, **options):
        """The same, what it prints as JSON."""
        return json.loads(self.control(*words, "--json", **options).stdout)

    def containers(self) -> list[dict]:
        """What the engine tells of the project's containers, running or not."""
        out = self.compose("ps", "--all", "--format", "json").stdout
        return [json.loads(line) for line in out.splitlines()]

    def left(self) -> dict[str, list[str]]:
        """Containers, networks and volumes with the project's label, by kind."""
        label = f"label=com.docker.compose.project={self.name}"
        asked = {
            "containers": ["ps", "--all", "--quiet"],
            "networks": ["network", "ls", "--quiet"],
            "volumes": ["volume", "ls", "--quiet"],
        }
        return {
            kind: subprocess.run(
                ["docker", *words, "--filter", label], check=True, capture_output=True, text=True
            ).stdout.split()
            for kind, words in asked.items()
        }


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project, up by plain `docker compose up --build -d` from a fresh clone; nothing of it is left at the end."""
    root = Path(tempfile.mkdtemp(prefix="bruce-docker-", dir=tmp_path_factory.getbasetemp()))
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root / "clone")], check=True)
    project = Project(root / "clone", root / "state")
    began = time.monotonic()
    try:
        project.compose("up", "--build", "--detach", "--wait", "--wait-timeout", "300")
        project.up_s = time.monotonic() - began
        yield project
    finally:
        project.compose("down", "--volumes", "--remove-orphans")
        shutil.rmtree(root, ignore_errors=True)
        assert project.left() == {"containers": [], "networks": [], "volumes": []}
